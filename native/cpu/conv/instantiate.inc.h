// The kernels for each type of elements that the set has. Include last, with ASDM_SET defined.
#pragma once

namespace asdm::cpu::ASDM_SET {

#define ASDM_INSTANTIATE(E)                                                \
  template void conv<E>(const ConvArgs&, KernelContext&) noexcept;         \
  template size_t convScratch<E>(const ConvArgs&, int) noexcept;           \
  template void directConv<E>(const ConvArgs&, KernelContext&) noexcept;   \
  template size_t directConvScratch<E>(const ConvArgs&, int) noexcept;     \
  template void winogradConv<E>(const ConvArgs&, KernelContext&) noexcept; \
  template size_t winogradConvScratch<E>(const ConvArgs&, int) noexcept;   \
  template void condConv<E>(const CondConvArgs&, KernelContext&) noexcept; \
  template size_t condConvScratch<E>(const CondConvArgs&, int) noexcept;

#if !defined(ASDM_VEC_BF16) && !defined(ASDM_TILES)
ASDM_INSTANTIATE(float)
#endif
ASDM_INSTANTIATE(Bf16)
#undef ASDM_INSTANTIATE

}  // namespace asdm::cpu::ASDM_SET

// The kernels for each type of elements that the set has. Include last, with ASDM_SET defined.
#pragma once

namespace asdm::cpu::ASDM_SET {

#define ASDM_INSTANTIATE(E)                                                  \
  template void groupNorm<E>(const GroupNormArgs&, KernelContext&) noexcept; \
  template void layerNorm<E>(const LayerNormArgs&, KernelContext&) noexcept;

#if !defined(ASDM_VEC_BF16)
ASDM_INSTANTIATE(float)
#endif
ASDM_INSTANTIATE(Bf16)
#undef ASDM_INSTANTIATE

}  // namespace asdm::cpu::ASDM_SET

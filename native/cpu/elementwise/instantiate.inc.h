// The kernels for each type of elements that the set has. Include last, with ASDM_SET defined.
#pragma once

namespace asdm::cpu::ASDM_SET {

#define ASDM_INSTANTIATE(E)                                                    \
  template void geglu<E>(const GegluArgs&, KernelContext&) noexcept;           \
  template void activation<E>(const ActivationArgs&, KernelContext&) noexcept; \
  template void add<E>(const AddArgs&, KernelContext&) noexcept;               \
  template void timestep<E>(const TimestepArgs&, KernelContext&) noexcept;

#if !defined(ASDM_VEC_BF16)
ASDM_INSTANTIATE(float)
#endif
ASDM_INSTANTIATE(Bf16)
#undef ASDM_INSTANTIATE

}  // namespace asdm::cpu::ASDM_SET

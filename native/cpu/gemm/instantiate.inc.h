// The kernels for each type of elements that the set has. Include last, with ASDM_SET defined.
#pragma once

namespace asdm::cpu::ASDM_SET {

#define ASDM_INSTANTIATE(E)                                             \
  template size_t packedBytes<E>(const WeightShape&) noexcept;          \
  template bool pack<E>(const PackArgs&) noexcept;                      \
  template void linear<E>(const LinearArgs&, KernelContext&) noexcept;  \
  template size_t linearScratch<E>(const LinearArgs&, int) noexcept;    \
  template void product<E>(const Product<E>&, KernelContext&) noexcept; \
  template size_t productScratch<E>(const Product<E>&, int) noexcept;

bool copyNumbers(const NumbersArgs& a) noexcept { return copyAll(a); }
void addProduct(const AddProductArgs& a) noexcept { addProductTo(a); }

#if !defined(ASDM_VEC_BF16) && !defined(ASDM_TILES)
ASDM_INSTANTIATE(float)
#endif
ASDM_INSTANTIATE(Bf16)
#undef ASDM_INSTANTIATE

}  // namespace asdm::cpu::ASDM_SET

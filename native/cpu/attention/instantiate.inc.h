// Attention for each type of elements that the set has, with the products that were included (ProductsOf). Include last, with ASDM_SET
// defined.
#pragma once

namespace asdm::cpu::ASDM_SET {

template <class E>
void attention(const AttentionArgs& a, KernelContext& context) noexcept {
  attend<ProductsOf<E>>(a, context);
}

template <class E>
size_t attentionScratch(const AttentionArgs& a, int threads) noexcept {
  return scratchOf<ProductsOf<E>>(a, threads);
}

#define ASDM_INSTANTIATE(E)                                                  \
  template void attention<E>(const AttentionArgs&, KernelContext&) noexcept; \
  template size_t attentionScratch<E>(const AttentionArgs&, int) noexcept;

#if !defined(ASDM_VEC_BF16)
ASDM_INSTANTIATE(float)
#endif
ASDM_INSTANTIATE(Bf16)
#undef ASDM_INSTANTIATE

}  // namespace asdm::cpu::ASDM_SET

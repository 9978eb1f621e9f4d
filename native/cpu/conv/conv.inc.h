// Convolution for every set, and the direct one: gathers neighbourhoods for cpu/gemm. Include after winograd.inc.h and what that
// needs (set avx512bf16 does without).
#pragma once

#include "cpu/conv/neighbourhoods.inc.h"
#include "cpu/gemm/left.inc.h"

namespace asdm::cpu::ASDM_SET {

// Writes the neighbourhoods of `rows` consecutive output pixels of one sample, elements first..first+count-1 in (kh, kw, c) order.
template <class E>
void copyNeighbourhoods(const void* source, int64_t row, int rows, int64_t first, int64_t count, void* to, int64_t stride) {
  const ConvArgs& a = *static_cast<const ConvArgs*>(source);
  walkNeighbourhoods(a, static_cast<const E*>(a.x), row, rows, first, count, [&](int r, int64_t done, int64_t run, const E* from) {
    copyRun(from, run, static_cast<Left*>(to) + r * stride + done);
  });
}

// Neighbours in a row of pixels follow each other in memory, so a neighbourhood's run starts here and mostly goes on.
template <class E>
const void* neighbourhood(const void* source, int64_t row, int64_t first) {
  const ConvArgs& a = *static_cast<const ConvArgs*>(source);
  const int64_t c = a.shape.channels, pixels = a.outH * a.outW;
  const int64_t sample = row / pixels, pixel = row - sample * pixels, tap = first / c;
  int64_t y = pixel / a.outW * a.stride - a.padTop + tap / a.kernelW, x = pixel % a.outW * a.stride - a.padLeft + tap % a.kernelW;
  if (a.resizeH > 0) {
    y = y * a.h / a.resizeH;
    x = x * a.w / a.resizeW;
  }
  y = y < 0 ? 0 : y >= a.h ? a.h - 1 : y;
  x = x < 0 ? 0 : x >= a.w ? a.w - 1 : x;
  return static_cast<const E*>(a.x) + ((sample * a.h + y) * a.w + x) * c + first % c;
}

template <class E>
inline Product<E> productOf(const ConvArgs& a) {
  return {a.n, a.outH * a.outW, a.shape, a.weight, &copyNeighbourhoods<E>, &neighbourhood<E>, &a, epilogueOf<E>(a)};
}

template <class E>
void directConv(const ConvArgs& a, KernelContext& context) noexcept {
  product<E>(productOf<E>(a), context);
}
template <class E>
size_t directConvScratch(const ConvArgs& a, int threads) noexcept {
  return productScratch<E>(productOf<E>(a), threads);
}

#if defined(ASDM_TILES)

// Products in tile registers are some sixteen times as fast as those of floats, against which a quarter of the multiplications is not
// enough: Winograd's convolution is the direct one.
template <class E>
void mixedWinograd(const ConvArgs& a, const Mixture* mixture, KernelContext& context) noexcept {
  Product<E> p = productOf<E>(a);
  p.mixture = mixture;
  product<E>(p, context);
}
inline size_t mixedWinogradScratch(const ConvArgs& a, int64_t experts, int threads) noexcept {
  const Mixture any{};
  Product<Bf16> p = productOf<Bf16>(a);
  if (experts > 0) p.mixture = &any;
  return productScratch<Bf16>(p, threads);
}
ASDM_INLINE bool takesWinograd(const ConvArgs&) { return false; }

#elif defined(ASDM_VEC_BF16)

// Its products of floats are avx512's, which reads this set's weights.
template <class E>
void mixedWinograd(const ConvArgs& a, const Mixture* mixture, KernelContext& context) noexcept {
  avx512::pairedWinogradConv(a, mixture, context, &packedRow<E>);
}
inline size_t mixedWinogradScratch(const ConvArgs& a, int64_t experts, int threads) noexcept {
  return avx512::pairedWinogradScratch(a, experts, threads);
}
ASDM_INLINE bool takesWinograd(const ConvArgs& a) { return a.shape.channels % kGroup == 0 && usesWinograd(a, 2); }

#else

template <class E>
void mixedWinograd(const ConvArgs& a, const Mixture* mixture, KernelContext& context) noexcept {
  runWinograd<E, E>(a, mixture, context, &packedRow<E>);
}
inline size_t mixedWinogradScratch(const ConvArgs& a, int64_t experts, int threads) noexcept {
  return winogradScratch(a, experts, threads);
}
ASDM_INLINE bool takesWinograd(const ConvArgs& a) { return usesWinograd(a, 1); }

#endif

template <class E>
void winogradConv(const ConvArgs& a, KernelContext& context) noexcept {
  mixedWinograd<E>(a, nullptr, context);
}
template <class E>
size_t winogradConvScratch(const ConvArgs& a, int threads) noexcept {
  return mixedWinogradScratch(a, 0, threads);
}

template <class E>
void conv(const ConvArgs& a, KernelContext& context) noexcept {
  if (takesWinograd(a)) winogradConv<E>(a, context);
  else directConv<E>(a, context);
}
template <class E>
size_t convScratch(const ConvArgs& a, int threads) noexcept {
  return takesWinograd(a) ? winogradConvScratch<E>(a, threads) : directConvScratch<E>(a, threads);
}

}  // namespace asdm::cpu::ASDM_SET

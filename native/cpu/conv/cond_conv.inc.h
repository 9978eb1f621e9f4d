// Conditional convolution for every set (backend/kernels.h, CondConvArgs): pools and routes each sample, then convolves with weights
// that the product, or Winograd's transform, mixes panel by panel (cpu/gemm/mix.inc.h). Include after conv.inc.h.
#pragma once

#include "cpu/conv/routing.h"

namespace asdm::cpu::ASDM_SET {

// sums[channel] = sum over `count` pixels of a sample from pixel `first` on, four by four.
template <class E>
inline void poolPixels(const ConvArgs& a, const Pooling& p, int64_t sample, int64_t first, int64_t count, float* sums) {
  const int64_t c = a.shape.channels;
  const E* const image = static_cast<const E*>(a.x) + sample * a.h * a.w * c;
  const auto pixelAt = [&](int64_t pixel) {
    if (p.height == a.h && p.width == a.w) return image + pixel * c;
    return image + (pixel / p.width * a.h / p.height * a.w + pixel % p.width * a.w / p.width) * c;
  };
  for (int64_t done = 0; done < count; done += 4) {
    const E* x[4];
    const int64_t rows = count - done < 4 ? count - done : 4;
    for (int64_t r = 0; r < rows; r++) x[r] = pixelAt(first + done + r);
    for (int64_t i = 0; i < c; i += kVf) {
      const int lanes = static_cast<int>(c - i < kVf ? c - i : kVf);
      vf sum = vzero();
      if (rows == 4 && lanes == kVf) {
        sum = vadd(vadd(vload(x[0] + i), vload(x[1] + i)), vadd(vload(x[2] + i), vload(x[3] + i)));
      } else {
        for (int64_t r = 0; r < rows; r++) sum = vadd(sum, vloadn(x[r] + i, lanes));
      }
      if (done > 0) sum = vadd(vloadn(sums + i, lanes), sum);
      vstoren(sums + i, sum, lanes);
    }
  }
}

template <class E>
inline Mixture mixtureOf(const CondConvArgs& a, const RoutingScratch& s) {
  return {a.conv.weight, expertBytes(packedBytes<E>(a.conv.shape)), a.experts, s.rates, a.conv.bias != nullptr ? s.bias : nullptr,
          s.alike, s.single};
}

template <class E>
void condConv(const CondConvArgs& a, KernelContext& context) noexcept {
  RoutingScratch s;
  const size_t before = layOutRouting(a, context.scratch, &s);
  const Pooling pooling = poolingOf(a.conv);
  const int64_t pixels = pooling.height * pooling.width;
  context.pool.run(a.conv.n * pooling.pieces, [&](int64_t task, int) {
    const int64_t sample = task / pooling.pieces, first = task % pooling.pieces * kPoolRows;
    const int64_t count = pixels - first < kPoolRows ? pixels - first : kPoolRows;
    poolPixels<E>(a.conv, pooling, sample, first, count, s.sums + task * a.conv.shape.channels);
  });
  context.pool.run(a.conv.n, [&](int64_t sample, int) { route(a, sample, s); });
  // What is written after a cancel is nobody's, but an index must not be.
  if (context.pool.cancelled()) return;
  findAlike(a.conv.n, a.experts, s);
  const Mixture mixture = mixtureOf<E>(a, s);
  KernelContext rest{context.pool, context.scratch + before};
  // By the algorithm that the plain convolution takes, of whose bits it must be where one expert is all.
  if (takesWinograd(a.conv)) {
    mixedWinograd<E>(a.conv, &mixture, rest);
    return;
  }
  Product p = productOf<E>(a.conv);
  p.mixture = &mixture;
  product<E>(p, rest);
}

template <class E>
size_t condConvScratch(const CondConvArgs& a, int threads) noexcept {
  if (takesWinograd(a.conv)) return layOutRouting(a, nullptr, nullptr) + mixedWinogradScratch(a.conv, true, threads);
  RoutingScratch none{};
  const Mixture mixture = mixtureOf<E>(a, none);
  Product p = productOf<E>(a.conv);
  p.mixture = &mixture;
  return layOutRouting(a, nullptr, nullptr) + productScratch<E>(p, threads);
}

}  // namespace asdm::cpu::ASDM_SET

// Conditional convolution for every set (backend/arguments.h, CondConvArgs): pools and routes each sample, then convolves with weights
// that the product, or Winograd's transform, mixes panel by panel (cpu/gemm/mix.inc.h). Include after conv.inc.h.
#pragma once

#include "cpu/conv/routing.h"
#include "cpu/gemm/mix.inc.h"

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
  return {a.conv.weight, expertBytes(packedBytes<E>(a.conv.shape)), a.experts, s.rates, a.conv.bias != nullptr ? s.bias : nullptr, s.alike,
          s.single};
}

// Whether all samples' kernels are mixed before the product begins. It pays where several tasks would mix for one sample; on large maps
// kernels are small.
inline bool mixesBefore(const CondConvArgs& a) { return !takesWinograd(a.conv) && a.conv.outH * a.conv.outW > kMixTiles * kMr; }

// Scratch for those kernels, each at expertBytes from the one before.
template <class E>
inline size_t mixedBytes(const CondConvArgs& a) {
  return mixesBefore(a) ? static_cast<size_t>(a.conv.n) * expertBytes(packedBytes<E>(a.conv.shape)) : 0;
}

// Mixes each sample's kernel into `mixed`, or that of the first sample like it; single[sample] is then its place there. Experts are read
// once for kMixTiles samples.
template <class E>
void mixKernels(const Mixture& m, int64_t samples, int64_t elements, std::byte* mixed, int32_t* single, ThreadPool& pool) {
  constexpr int64_t kPiece = 1024 * kStep;
  pool.run(ceilDiv(elements, kPiece), [&](int64_t piece, int) {
    const int64_t first = piece * kPiece, count = smaller(kPiece, elements - first);
    for (int64_t sample = 0; sample < samples;) {
      int64_t groups[kMixTiles], n = 0;
      E* to[kMixTiles];
      for (; sample < samples && n < kMixTiles; sample++) {
        if (m.alike[sample] != sample) continue;
        groups[n] = sample;
        to[n++] = reinterpret_cast<E*>(mixed + static_cast<size_t>(sample) * m.distance) + first;
      }
      mixGroups<E>(m, groups, n, first, count, to);
    }
  });
  for (int64_t sample = 0; sample < samples; sample++) single[sample] = m.alike[sample];
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
  Mixture mixture = mixtureOf<E>(a, s);
  KernelContext rest{context.pool, context.scratch + before};
  // By the algorithm that the plain convolution takes, of whose bits it must be where one expert is all.
  if (takesWinograd(a.conv)) {
    mixedWinograd<E>(a.conv, &mixture, rest);
    return;
  }
  if (mixesBefore(a)) {
    const int64_t elements = static_cast<int64_t>(packedBytes<E>(a.conv.shape) / sizeof(E));
    mixKernels<E>(mixture, a.conv.n, elements, rest.scratch, s.single, context.pool);
    mixture.experts = rest.scratch;
    mixture.whole = true;
    rest.scratch += mixedBytes<E>(a);
  }
  Product<E> p = productOf<E>(a.conv);
  p.mixture = &mixture;
  product<E>(p, rest);
}

template <class E>
size_t condConvScratch(const CondConvArgs& a, int threads) noexcept {
  if (takesWinograd(a.conv)) return layOutRouting(a, nullptr, nullptr) + mixedWinogradScratch(a.conv, a.experts, threads);
  RoutingScratch none{};
  Mixture mixture = mixtureOf<E>(a, none);
  mixture.whole = mixesBefore(a);
  Product<E> p = productOf<E>(a.conv);
  p.mixture = &mixture;
  return layOutRouting(a, nullptr, nullptr) + mixedBytes<E>(a) + productScratch<E>(p, threads);
}

}  // namespace asdm::cpu::ASDM_SET

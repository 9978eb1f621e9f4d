// For every set with products of floats. Include after a vocabulary, element.inc.h and math.inc.h.
#pragma once

#include "cpu/conv/neighbourhoods.inc.h"
#include "cpu/gemm/finish.inc.h"

namespace asdm::cpu::ASDM_SET {

ASDM_INLINE int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
ASDM_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// to = from + low; a null low is zeros, a null `from` padding.
ASDM_INLINE void widenRun(const Bf16* from, const Bf16* low, int64_t count, float* to) {
  int64_t i = 0;
  for (; i + kVf <= count; i += kVf) {
    vf v = from != nullptr ? vload(from + i) : vzero();
    if (from != nullptr && low != nullptr) v = vadd(v, vload(low + i));
    vstore(to + i, v);
  }
  for (; i < count; i++) to[i] = from == nullptr ? 0.0f : toFloat(from[i]) + (low != nullptr ? toFloat(low[i]) : 0.0f);
}

inline void widenLinearRows(const void* source, int64_t row, int rows, int64_t first, int64_t count, void* to, int64_t stride) {
  const LinearArgs& l = *static_cast<const LinearArgs*>(source);
  const Bf16* const x = static_cast<const Bf16*>(l.x);
  const Bf16* const low = static_cast<const Bf16*>(l.xLow);
  for (int r = 0; r < rows; r++) {
    const int64_t at = (row + r) * l.ldx + first;
    widenRun(x + at, low != nullptr ? low + at : nullptr, count, static_cast<float*>(to) + r * stride);
  }
}
inline const void* wideLinearRow(const void* source, int64_t row, int64_t first) {
  const LinearArgs& l = *static_cast<const LinearArgs*>(source);
  return static_cast<const Bf16*>(l.x) + row * l.ldx + first;
}

inline void widenNeighbourhoods(const void* source, int64_t row, int rows, int64_t first, int64_t count, void* to, int64_t stride) {
  const ConvArgs& a = *static_cast<const ConvArgs*>(source);
  const Bf16* const x = static_cast<const Bf16*>(a.x);
  const Bf16* const low = static_cast<const Bf16*>(a.xLow);
  walkNeighbourhoods(a, x, row, rows, first, count, [&](int r, int64_t done, int64_t run, const Bf16* from) {
    widenRun(from, low != nullptr && from != nullptr ? low + (from - x) : nullptr, run, static_cast<float*>(to) + r * stride + done);
  });
}
// A hint only: the pixel itself.
inline const void* widePixel(const void* source, int64_t row, int64_t first) {
  const ConvArgs& a = *static_cast<const ConvArgs*>(source);
  const int64_t pixels = a.outH * a.outW, sample = row / pixels, pixel = row % pixels;
  const int64_t y = smaller(pixel / a.outW * a.stride, a.h - 1), x = smaller(pixel % a.outW * a.stride, a.w - 1);
  return static_cast<const Bf16*>(a.x) + ((sample * a.h + y) * a.w + x) * a.shape.channels + first % a.shape.channels;
}

// Bytes of the sums, which lie in scratch before the product's own.
inline size_t wideSums(const Product<float>& p) {
  return (static_cast<size_t>(p.groups * p.groupRows * p.out.ldy) * sizeof(float) + 63) / 64 * 64;
}

// end: what is done in the activations' format; p.out has the rest.
inline void wideProduct(Product<float> p, const Epilogue<Bf16>& end, KernelContext& context) {
  const float* const sums = p.out.y = reinterpret_cast<float*>(context.scratch);
  KernelContext inner{context.pool, context.scratch + wideSums(p)};
  product<float>(p, inner);
  constexpr int64_t kElements = 1 << 16;
  const int64_t n = p.out.ldy, all = p.groups * p.groupRows, rows = rowsOfTask(all, n, kElements, context.pool.threads());
  context.pool.run(ceilDiv(all, rows), [&](int64_t task, int) {
    for (int64_t row = task * rows; row < smaller(all, (task + 1) * rows); row++) {
      const Epilogue<Bf16> out = epilogueAt(end, row / p.groupRows, row, 0);
      for (int64_t j = 0; j < n; j += kVf) {
        const int lanes = static_cast<int>(smaller(kVf, n - j));
        vf sum[1][1] = {{vloadn(sums + row * n + j, lanes)}};
        finishVectors(out, 0, j, sum, lanes);
      }
    }
  });
}

// The part of an epilogue that sums in float take, dense rows of `width`, and what is left of it.
inline Epilogue<float> sumsOf(const Epilogue<Bf16>& e, int64_t width) {
  return {e.bias, nullptr, 0, e.activation, nullptr, nullptr, 0, nullptr, nullptr, width};
}
inline Epilogue<Bf16> restOf(Epilogue<Bf16> e) {
  e.bias = nullptr;
  e.activation = Activation::None;
  return e;
}

inline Product<float> wideProductOf(const LinearArgs& l) {
  return {1, l.m, l.shape, l.weight, &widenLinearRows, &wideLinearRow, &l, sumsOf(epilogueOf<Bf16>(l), l.width()), nullptr, l.gated};
}
inline Product<float> wideProductOf(const ConvArgs& a) {
  return {a.n, a.outH * a.outW, a.shape, a.weight, &widenNeighbourhoods, &widePixel, &a, sumsOf(epilogueOf<Bf16>(a), a.shape.n)};
}

template <class Args>
inline size_t wideScratch(const Args& a, int threads) {
  const Product<float> p = wideProductOf(a);
  return wideSums(p) + productScratch<float>(p, threads);
}

void wideLinear(const LinearArgs& l, KernelContext& context) noexcept {
  wideProduct(wideProductOf(l), restOf(epilogueOf<Bf16>(l)), context);
}
size_t wideLinearScratch(const LinearArgs& l, int threads) noexcept { return wideScratch(l, threads); }

void wideConv(const ConvArgs& a, KernelContext& context) noexcept { wideProduct(wideProductOf(a), restOf(epilogueOf<Bf16>(a)), context); }
size_t wideConvScratch(const ConvArgs& a, int threads) noexcept { return wideScratch(a, threads); }

}  // namespace asdm::cpu::ASDM_SET

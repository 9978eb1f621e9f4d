// For every set with products of floats. Include after a vocabulary and element.inc.h.
#pragma once

#include "cpu/conv/neighbourhoods.inc.h"

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

// What a product's sums become; rows are those of the product, of n features.
struct WideEnd {
  int64_t rows, n;
  const Bf16* rowBias;  // of `group` rows in common, ldRowBias apart, or null
  int64_t group, ldRowBias;
  const Bf16 *residual, *residualLow;
  int64_t ldr;
  Bf16 *y, *yLow;
  int64_t ldy;
};

ASDM_INLINE void finishRow(const WideEnd& e, int64_t row, const float* sums) {
  const Bf16* const rowBias = e.rowBias != nullptr ? e.rowBias + row / e.group * e.ldRowBias : nullptr;
  const Bf16* const residual = e.residual != nullptr ? e.residual + row * e.ldr : nullptr;
  const Bf16* const residualLow = residual != nullptr && e.residualLow != nullptr ? e.residualLow + row * e.ldr : nullptr;
  Bf16* const y = e.y + row * e.ldy;
  Bf16* const yLow = e.yLow != nullptr ? e.yLow + row * e.ldy : nullptr;
  for (int64_t j = 0; j < e.n; j += kVf) {
    const int n = static_cast<int>(smaller(kVf, e.n - j));
    vf v = vloadn(sums + j, n);
    if (rowBias != nullptr) v = vadd(v, vloadn(rowBias + j, n));
    if (residual != nullptr) {
      const vf r = vloadn(residual + j, n);
      v = vadd(v, residualLow != nullptr ? vadd(r, vloadn(residualLow + j, n)) : r);
    }
    vstoren(y + j, v, n);
    if (yLow != nullptr) vstoren(yLow + j, vsub(v, vloadn(y + j, n)), n);
  }
}

// Bytes of the sums, which lie in scratch before the product's own.
inline size_t wideSums(const Product& p) {
  return (static_cast<size_t>(p.groups * p.groupRows * p.ldy) * sizeof(float) + 63) / 64 * 64;
}

inline void wideProduct(Product p, const WideEnd& end, KernelContext& context) {
  float* const sums = reinterpret_cast<float*>(context.scratch);
  p.y = sums;
  KernelContext inner{context.pool, context.scratch + wideSums(p)};
  product<float>(p, inner);
  constexpr int64_t kElements = 1 << 16;
  const int64_t rows = kElements / end.n > 1 ? kElements / end.n : 1;
  context.pool.run(ceilDiv(end.rows, rows), [&](int64_t task, int) {
    for (int64_t row = task * rows; row < smaller(end.rows, (task + 1) * rows); row++) finishRow(end, row, sums + row * end.n);
  });
}

inline Product wideProductOf(const LinearArgs& l) {
  return {1, l.m, l.shape, l.weight, &widenLinearRows, &wideLinearRow, &l, l.bias, nullptr, 0, l.activation, nullptr, 0, nullptr, l.width(),
          nullptr, nullptr, nullptr, l.gated};
}
inline Product wideProductOf(const ConvArgs& a) {
  return {a.n, a.outH * a.outW, a.shape, a.weight, &widenNeighbourhoods, &widePixel, &a, a.bias, nullptr, 0, Activation::None, nullptr, 0,
          nullptr, a.shape.n};
}

void wideLinear(const LinearArgs& l, KernelContext& context) noexcept {
  wideProduct(wideProductOf(l), {l.m, l.width(), nullptr, 1, 0, static_cast<const Bf16*>(l.residual), static_cast<const Bf16*>(l.residualLow),
                                 l.ldr, static_cast<Bf16*>(l.y), static_cast<Bf16*>(l.yLow), l.ldy}, context);
}
size_t wideLinearScratch(const LinearArgs& l, int threads) noexcept {
  const Product p = wideProductOf(l);
  return wideSums(p) + productScratch<float>(p, threads);
}

void wideConv(const ConvArgs& a, KernelContext& context) noexcept {
  const int64_t pixels = a.outH * a.outW, n = a.shape.n;
  wideProduct(wideProductOf(a), {a.n * pixels, n, static_cast<const Bf16*>(a.rowBias), pixels, a.ldRowBias, static_cast<const Bf16*>(a.residual),
                                 static_cast<const Bf16*>(a.residualLow), n, static_cast<Bf16*>(a.y), static_cast<Bf16*>(a.yLow), n}, context);
}
size_t wideConvScratch(const ConvArgs& a, int threads) noexcept {
  const Product p = wideProductOf(a);
  return wideSums(p) + productScratch<float>(p, threads);
}

}  // namespace asdm::cpu::ASDM_SET

// Layer norm. Include after group_norm.inc.h.
#pragma once

namespace asdm::cpu::ASDM_SET {

// Sums of x - center and, if wanted, of its square, over a row; four chains each, for the latency of addition.
struct RowSums {
  double first, second;
};

template <bool Squares, class E>
ASDM_INLINE RowSums rowSums(const E* x, int64_t c, float center) {
  const vf m = vset(center);
  vf first[4], second[4];
  for (int k = 0; k < 4; k++) first[k] = second[k] = vzero();
  int64_t j = 0;
  for (; j + 4 * kVf <= c; j += 4 * kVf)
    for (int k = 0; k < 4; k++) {
      const vf d = vsub(vload(x + j + k * kVf), m);
      first[k] = vadd(first[k], d);
      if (Squares) second[k] = vfma(d, d, second[k]);
    }
  for (; j + kVf <= c; j += kVf) {
    const vf d = vsub(vload(x + j), m);
    first[0] = vadd(first[0], d);
    if (Squares) second[0] = vfma(d, d, second[0]);
  }
  double tail = 0.0, tailSquares = 0.0;
  for (; j < c; j++) {
    const double d = static_cast<double>(toFloat(x[j]) - center);
    tail += d;
    tailSquares += d * d;
  }
  const vf sum = vadd(vadd(first[0], first[1]), vadd(first[2], first[3]));
  const vf squares = vadd(vadd(second[0], second[1]), vadd(second[2], second[3]));
  return {static_cast<double>(vsum(sum)) + tail, Squares ? static_cast<double>(vsum(squares)) + tailSquares : 0.0};
}

// What deviations are taken from: for float the row's mean. For bfloat16, see centerRows in group_norm.inc.h, that of its first four
// vectors, so that the row is summed once; of all if it is shorter.
ASDM_INLINE float rowCenter(const float* x, int64_t c) {
  return static_cast<float>(rowSums<false>(x, c, 0.0f).first / static_cast<double>(c));
}
ASDM_INLINE float rowCenter(const Bf16* x, int64_t c) {
  constexpr int64_t kSample = 4 * kVf;
  if (c < kSample) return static_cast<float>(rowSums<false>(x, c, 0.0f).first / static_cast<double>(c));
  const vf sum = vadd(vadd(vload(x), vload(x + kVf)), vadd(vload(x + 2 * kVf), vload(x + 3 * kVf)));
  return vsum(sum) * (1.0f / static_cast<float>(kSample));
}

// A row's y is ((x - center) * scale + shift) * gamma + beta.
struct RowScale {
  float center, scale, shift;
};

template <class E>
ASDM_INLINE RowScale rowScale(const LayerNormArgs& a, const E* x) {
  const double count = static_cast<double>(a.c);
  const float center = rowCenter(x, a.c);
  const RowSums sums = rowSums<true>(x, a.c, center);
  // The center is off the mean by `off`.
  const double off = sums.first / count;
  const double variance = (sums.second - sums.first * off) / count;
  const double rstd = 1.0 / std::sqrt((variance < 0.0 ? 0.0 : variance) + static_cast<double>(a.eps));
  return {center, static_cast<float>(rstd), static_cast<float>(-off * rstd)};
}

template <bool Low, class E>
ASDM_INLINE void scaleRow(const LayerNormArgs& a, const RowScale& row, const E* x, const E* low, E* y) {
  const vf m = vset(row.center), scale = vset(row.scale), shift = vset(row.shift);
  int64_t j = 0;
  for (; j + kVf <= a.c; j += kVf) {
    vf d = vsub(vload(x + j), m);
    if (Low) d = vadd(d, vload(low + j));
    const vf z = vfma(d, scale, shift);
    vstore(y + j, vfma(z, vload(a.gamma + j), vload(a.beta + j)));
  }
  if (j < a.c) {
    const int n = static_cast<int>(a.c - j);
    vf d = vsub(vloadn(x + j, n), m);
    if (Low) d = vadd(d, vloadn(low + j, n));
    const vf z = vfma(d, scale, shift);
    vstoren(y + j, vfma(z, vloadn(a.gamma + j, n), vloadn(a.beta + j, n)), n);
  }
}

template <class E>
void layerNorm(const LayerNormArgs& a, KernelContext& context) noexcept {
  const E* const x = static_cast<const E*>(a.x);
  const E* const low = static_cast<const E*>(a.xLow);
  E* const y = static_cast<E*>(a.y);
  const int64_t rowsPerTask = rowsOfTask(a.rows, a.c, kChunkElements, context.pool.threads());
  context.pool.run((a.rows + rowsPerTask - 1) / rowsPerTask, [&](int64_t task, int) {
    const int64_t end = (task + 1) * rowsPerTask < a.rows ? (task + 1) * rowsPerTask : a.rows;
    // A few rows' scales before the rows: each ends in a chain of divisions and a root, which the next row's sums can hide.
    constexpr int64_t kAhead = 8;
    RowScale scales[kAhead];
    for (int64_t first = task * rowsPerTask; first < end; first += kAhead) {
      const int64_t rows = end - first < kAhead ? end - first : kAhead;
      for (int64_t i = 0; i < rows; i++) scales[i] = rowScale(a, x + (first + i) * a.c);
      for (int64_t i = 0; i < rows; i++) {
        const int64_t at = (first + i) * a.c;
        if (low != nullptr) scaleRow<true>(a, scales[i], x + at, low + at, y + at);
        else scaleRow<false>(a, scales[i], x + at, x, y + at);
      }
    }
  });
}
ASDM_INSTANTIATE_KERNEL(layerNorm, LayerNormArgs)

}  // namespace asdm::cpu::ASDM_SET

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

template <class E>
ASDM_INLINE void layerNormRow(const LayerNormArgs& a, const E* x, E* y) {
  const double count = static_cast<double>(a.c);
  const float center = static_cast<float>(rowSums<false>(x, a.c, 0.0f).first / count);
  const RowSums sums = rowSums<true>(x, a.c, center);
  // The float mean is off by `off`.
  const double off = sums.first / count;
  const double variance = (sums.second - sums.first * off) / count;
  const double rstd = 1.0 / std::sqrt((variance < 0.0 ? 0.0 : variance) + static_cast<double>(a.eps));
  const vf m = vset(center), scale = vset(static_cast<float>(rstd)), shift = vset(static_cast<float>(-off * rstd));
  int64_t j = 0;
  for (; j + kVf <= a.c; j += kVf) {
    const vf z = vfma(vsub(vload(x + j), m), scale, shift);
    vstore(y + j, vfma(z, vload(a.gamma + j), vload(a.beta + j)));
  }
  if (j < a.c) {
    const int n = static_cast<int>(a.c - j);
    const vf z = vfma(vsub(vloadn(x + j, n), m), scale, shift);
    vstoren(y + j, vfma(z, vloadn(a.gamma + j, n), vloadn(a.beta + j, n)), n);
  }
}

template <class E>
void layerNorm(const LayerNormArgs& a, KernelContext& context) noexcept {
  const E* const x = static_cast<const E*>(a.x);
  E* const y = static_cast<E*>(a.y);
  const int64_t rowsPerTask = kChunkElements / a.c > 1 ? kChunkElements / a.c : 1;
  context.pool.run((a.rows + rowsPerTask - 1) / rowsPerTask, [&](int64_t task, int) {
    const int64_t end = (task + 1) * rowsPerTask < a.rows ? (task + 1) * rowsPerTask : a.rows;
    for (int64_t row = task * rowsPerTask; row < end; row++) layerNormRow(a, x + row * a.c, y + row * a.c);
  });
}

}  // namespace asdm::cpu::ASDM_SET

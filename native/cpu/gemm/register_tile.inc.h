// The inner loop with all sums in registers: per step of k, V vectors of weights and R broadcast values. Include after tile.inc.h,
// with kUnroll (steps per turn) and kPrefetch (distance in floats at which packed weights are fetched ahead) defined.
#pragma once

namespace asdm::cpu::ASDM_SET {

template <int R, int V>
ASDM_INLINE void tileStep(const float* a, const float* b, vf (&sum)[R][V]) {
  vf right[V];
  ASDM_UNROLL
  for (int v = 0; v < V; v++) right[v] = vload(b + v * kVf);
  ASDM_UNROLL
  for (int r = 0; r < R; r++) {
    const vf left = vset(a[r * kStride]);
    ASDM_UNROLL
    for (int v = 0; v < V; v++) sum[r][v] = vfma(left, right[v], sum[r][v]);
  }
}

template <int R, int V>
ASDM_INLINE void accumulate(const Tile& t, vf (&sum)[R][V]) {
  ASDM_UNROLL
  for (int r = 0; r < R; r++) {
    ASDM_UNROLL
    for (int v = 0; v < V; v++) sum[r][v] = vzero();
  }
  const float* a = t.a;
  const float* b = t.b;
  // Memory for the end of the tile and for later tiles is asked for a little at a time: a burst would fill the core's few miss
  // slots and stall it. The hints are never read, so they may point past an array's end.
  const float* out = t.last ? t.y : t.sums;
  const float* residual = t.last && t.residual != nullptr ? t.residual : t.a;
  const int64_t outStep = t.last ? t.ldy : kNr, residualStep = t.last && t.residual != nullptr ? t.ldr : 0;
  int64_t k = 0;
  for (; k + kUnroll <= t.kc; k += kUnroll) {
    ASDM_UNROLL
    for (int step = 0; step < kUnroll; step++) {
      for (int v = 0; v < kNr; v += 16) ASDM_PREFETCH(b + kPrefetch + step * kNr + v);
      tileStep<R, V>(a + step, b + step * kNr, sum);
    }
    a += kUnroll;
    b += kUnroll * kNr;
    for (int i = 0; i < kNext; i++) ASDM_PREFETCH_L2(t.next[i] + k);
    for (int v = 0; v < kNr; v += 16) ASDM_PREFETCH(out + v);
    for (int v = 0; v < kNr; v += 16) ASDM_PREFETCH(residual + v);
    const bool more = k < kUnroll * (R - 1);
    out += more ? outStep : 0;
    residual += more ? residualStep : 0;
  }
  for (; k < t.kc; k++, a++, b += kNr) tileStep<R, V>(a, b, sum);
}

}  // namespace asdm::cpu::ASDM_SET

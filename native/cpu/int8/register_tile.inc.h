// The inner loop with all sums in registers: per slot of k, V vectors of weights and R broadcast slots. Include after tile.inc.h, with
// kUnroll (slots per turn) and kPrefetch (distance in bytes at which packed weights are fetched ahead), and for the set:
//   viLeft(a)                   a slot of copied numbers in every lane
//   viRight(b)                  kVf lanes of weights
//   viDot(sum, left, right)     sum + the slots' products
#pragma once

namespace asdm::cpu::ASDM_SET::int8 {

template <int R, int V>
ASDM_INLINE void tileStep(const Left* a, const int8_t* b, vi (&sum)[R][V]) {
  vi right[V];
  ASDM_UNROLL
  for (int v = 0; v < V; v++) right[v] = viRight(b + v * kVf * kSlot);
  ASDM_UNROLL
  for (int r = 0; r < R; r++) {
    const vi left = viLeft(a + r * kStride);
    ASDM_UNROLL
    for (int v = 0; v < V; v++) sum[r][v] = viDot(sum[r][v], left, right[v]);
  }
}

template <int R, int V>
ASDM_INLINE void accumulate(const Tile& t, vi (&sum)[R][V]) {
  ASDM_UNROLL
  for (int r = 0; r < R; r++) {
    ASDM_UNROLL
    for (int v = 0; v < V; v++) sum[r][v] = viZero();
  }
  const Left* a = t.a;
  const int8_t* b = t.b;
  // Memory for the end of the tile is asked for a little at a time: a burst would fill the core's few miss slots and stall it. The
  // hints are never read, so they may point past an array's end.
  const char* out = reinterpret_cast<const char*>(t.out.y);
  const bool residualToo = t.last && t.out.residual != nullptr;
  const char* residual = residualToo ? reinterpret_cast<const char*>(t.out.residual) : out;
  const int64_t outStep = t.out.ldy * 2, residualStep = residualToo ? t.out.ldr * 2 : 0;
  int64_t k = 0;
  for (; k + kUnroll <= t.steps; k += kUnroll) {
    ASDM_UNROLL
    for (int step = 0; step < kUnroll; step++) {
      for (int v = 0; v < kNr * kSlot; v += 64) ASDM_PREFETCH(b + kPrefetch + step * kNr * kSlot + v);
      tileStep<R, V>(a + step * kSlot, b + step * kNr * kSlot, sum);
    }
    a += kUnroll * kSlot;
    b += kUnroll * kNr * kSlot;
    ASDM_PREFETCH(out);
    ASDM_PREFETCH(residual);
    const bool more = t.last && k < kUnroll * (R - 1);
    out += more ? outStep : 0;
    residual += more ? residualStep : 0;
  }
  for (; k < t.steps; k++, a += kSlot, b += kNr * kSlot) tileStep<R, V>(a, b, sum);
}

}  // namespace asdm::cpu::ASDM_SET::int8

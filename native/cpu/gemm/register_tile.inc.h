// The inner loop with all sums in registers: per step of k, V vectors of weights and R broadcast values. Include after tile.inc.h,
// with kUnroll (steps per turn) and kPrefetch (distance in floats at which packed weights are fetched ahead) defined.
#pragma once

#include "cpu/gemm/tile.inc.h"
#include "cpu/gemm/tile_kernels.inc.h"

namespace asdm::cpu::ASDM_SET {

// The most that Tile::nextStep makes of its hints: a cache line with each turn of the inner loop.
constexpr int64_t kNextStep = kCacheLine / kUnroll;

template <class E, int R, int V>
ASDM_INLINE void tileStep(const Left* a, const E* b, vf (&sum)[R][V]) {
  Lanes right[V];
  ASDM_UNROLL
  for (int v = 0; v < V; v++) right[v] = loadRight(b + v * kVf * kGroup);
  ASDM_UNROLL
  for (int r = 0; r < R; r++) {
    const Lanes left = spreadLeft(a + r * kStride);
    ASDM_UNROLL
    for (int v = 0; v < V; v++) sum[r][v] = multiplyAdd(left, right[v], sum[r][v]);
  }
}

template <class E, int R, int V>
ASDM_INLINE void accumulate(const Tile<E>& t, vf (&sum)[R][V]) {
  constexpr int kLine = 64, kOf = static_cast<int>(sizeof(E));  // bytes of a cache line, of an element
  ASDM_UNROLL
  for (int r = 0; r < R; r++) {
    ASDM_UNROLL
    for (int v = 0; v < V; v++) sum[r][v] = vzero();
  }
  const Left* a = t.a;
  const E* b = t.b;
  // Memory for the end of the tile and for later tiles is asked for a little at a time: a burst would fill the core's few miss
  // slots and stall it. The hints are never read, so they may point past an array's end.
  const char* out = t.last ? reinterpret_cast<const char*>(t.out.y) : reinterpret_cast<const char*>(t.sums);
  const char* residual =
      t.last && t.out.residual != nullptr ? reinterpret_cast<const char*>(t.out.residual) : reinterpret_cast<const char*>(t.a);
  const int64_t outStep = t.last ? t.out.ldy * kOf : kNr * 4, residualStep = t.last && t.out.residual != nullptr ? t.out.ldr * kOf : 0;
  int64_t k = 0;
  for (; k + kUnroll <= t.steps; k += kUnroll) {
    ASDM_UNROLL
    for (int step = 0; step < kUnroll; step++) {
      for (int v = 0; v < kStep; v += kLine / kOf) ASDM_PREFETCH(b + kPrefetch * 4 / kOf + step * kStep + v);
      tileStep<E, R, V>(a + step * kGroup, b + step * kStep, sum);
    }
    a += kUnroll * kGroup;
    b += kUnroll * kStep;
    t.fetchNext(k * t.nextStep);
    for (int v = 0; v < kNr * 4; v += kLine) ASDM_PREFETCH(out + v);
    for (int v = 0; v < kNr * kOf; v += kLine) ASDM_PREFETCH(residual + v);
    const bool more = k < kUnroll * (R - 1);
    out += more ? outStep : 0;
    residual += more ? residualStep : 0;
  }
  for (; k < t.steps; k++, a += kGroup, b += kStep) tileStep<E, R, V>(a, b, sum);
}

}  // namespace asdm::cpu::ASDM_SET

// The register tile, for every set: R rows times V vectors of output features over one block of k. Include after a vocabulary and
// math.inc.h, with kMr (rows), kNv (vectors) and kKc (longest k block, in steps, a multiple of 32) defined in the set's namespace. The
// inner loop, accumulate(), is register_tile.inc.h's.
#pragma once

#include "cpu/gemm/left.inc.h"
#include "cpu/hints.h"

namespace asdm::cpu::ASDM_SET {

constexpr int kNr = kNv * kVf;
// Elements of packed weights at one step.
constexpr int kStep = kNr * kGroup;
// Distance of copied rows: an odd number of cache lines, so that a tile's rows fall into different cache sets.
constexpr int64_t kStride = (kKc + 16) * kGroup;
// Rows of the block to come that one tile fetches ahead.
constexpr int kNext = 4;

// One tile's work; pointers are to the tile's first element. The sum of earlier k blocks lies in `sums` [rows][kNr] unless this is
// the first; before the last, the new sum goes there too, and what concerns y is ignored.
template <class E>
struct Tile {
  const Left* a;  // [rows][kStride]
  const E* b;     // [kc][kNr][kGroup]
  int64_t kc;     // steps
  int rows, columns;
  bool first, last;
  float* sums;
  const float* bias;
  const E* rowBias;
  Activation activation;
  const E* residual;
  int64_t ldr;
  E* y;
  int64_t ldy;
  const E* residualLow;
  E* yLow;
  // Runs of kc steps that will be copied later, to be fetched meanwhile; or any readable address.
  const void* next[kNext];
};

// The slow way out, for activations and narrow panels: finishes whole sums [rows][kNr] to y.
template <class E>
ASDM_NOINLINE void finishTile(const Tile<E>& t, const float* sums) {
  for (int r = 0; r < t.rows; r++) {
    E* y = t.y + r * t.ldy;
    for (int j = 0; j < t.columns; j += kVf) {
      const int n = t.columns - j < kVf ? t.columns - j : kVf;
      vf v = vload(sums + r * kNr + j);
      if (t.bias != nullptr) v = vadd(v, vloadn(t.bias + j, n));
      if (t.rowBias != nullptr) v = vadd(v, vloadn(t.rowBias + j, n));
      v = vactivate(t.activation, v);
      if (t.residual != nullptr) {
        vf residual = vloadn(t.residual + r * t.ldr + j, n);
        if (t.residualLow != nullptr) residual = vadd(residual, vloadn(t.residualLow + r * t.ldr + j, n));
        v = vadd(v, residual);
      }
      vstoren(y + j, v, n);
      if (t.yLow != nullptr) vstoren(t.yLow + r * t.ldy + j, vsub(v, vloadn(y + j, n)), n);
    }
  }
}

template <class T, int R, int V>
ASDM_INLINE void addToRows(const T* bias, vf (&sum)[R][V]) {
  ASDM_UNROLL
  for (int v = 0; v < V; v++) {
    const vf add = vload(bias + v * kVf);
    ASDM_UNROLL
    for (int r = 0; r < R; r++) sum[r][v] = vadd(sum[r][v], add);
  }
}

template <class T, int R, int V>
ASDM_INLINE void storeRows(const vf (&sum)[R][V], T* to, int64_t ld) {
  ASDM_UNROLL
  for (int r = 0; r < R; r++) {
    ASDM_UNROLL
    for (int v = 0; v < V; v++) vstore(to + r * ld + v * kVf, sum[r][v]);
  }
}

// sum = the tile's product over this k block; defined by register_tile.inc.h, or by a set that needs another form.
template <class E, int R, int V>
ASDM_INLINE void accumulate(const Tile<E>& t, vf (&sum)[R][V]);

template <class E, int R, int V>
void tileKernel(const Tile<E>& t) {
  vf sum[R][V];
  accumulate<E, R, V>(t, sum);
  if (!t.first) {
    ASDM_UNROLL
    for (int r = 0; r < R; r++) {
      ASDM_UNROLL
      for (int v = 0; v < V; v++) sum[r][v] = vadd(vload(t.sums + r * kNr + v * kVf), sum[r][v]);
    }
  }
  if (!t.last) {
    storeRows<float, R, V>(sum, t.sums, kNr);
    return;
  }
  if (t.columns != V * kVf || t.activation != Activation::None) {
    float sums[R * kNr];
    storeRows<float, R, V>(sum, sums, kNr);
    finishTile(t, sums);
    return;
  }
  if (t.bias != nullptr) addToRows<float, R, V>(t.bias, sum);
  if (t.rowBias != nullptr) addToRows<E, R, V>(t.rowBias, sum);
  if (t.residual != nullptr) {
    ASDM_UNROLL
    for (int r = 0; r < R; r++) {
      ASDM_UNROLL
      for (int v = 0; v < V; v++) {
        vf residual = vload(t.residual + r * t.ldr + v * kVf);
        if (sizeof(E) == 2 && t.residualLow != nullptr) residual = vadd(residual, vload(t.residualLow + r * t.ldr + v * kVf));
        sum[r][v] = vadd(sum[r][v], residual);
      }
    }
  }
  storeRows<E, R, V>(sum, t.y, t.ldy);
  if (sizeof(E) != 2 || t.yLow == nullptr) return;
  ASDM_UNROLL
  for (int r = 0; r < R; r++) {
    ASDM_UNROLL
    for (int v = 0; v < V; v++) vstore(t.yLow + r * t.ldy + v * kVf, vsub(sum[r][v], vload(t.y + r * t.ldy + v * kVf)));
  }
}

// table[V - 1][R - 1]: all heights up to kMr; heights differ by at most one within a product, so few are ever used.
template <class E>
using TileKernel = void (*)(const Tile<E>&);

template <class E, int V, int R>
struct FillKernels {
  static void into(TileKernel<E> (*table)[kMr]) {
    table[V - 1][R - 1] = &tileKernel<E, R, V>;
    FillKernels<E, V, R - 1>::into(table);
  }
};
template <class E, int V>
struct FillKernels<E, V, 0> {
  static void into(TileKernel<E> (*table)[kMr]) { FillKernels<E, V - 1, kMr>::into(table); }
};
template <class E>
struct FillKernels<E, 0, kMr> {
  static void into(TileKernel<E> (*)[kMr]) {}
};

}  // namespace asdm::cpu::ASDM_SET

// A tile's kernels for every height and width, with sums in vector registers. Include after tile.inc.h.
#pragma once

#include "cpu/gemm/tile.inc.h"

namespace asdm::cpu::ASDM_SET {

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

// The most that Tile::nextStep makes of its hints: a cache line with each turn of the inner loop.
constexpr int64_t kNextStep = kCacheLine / kUnroll;

// How many vectors of a tile's row are multiplied per cycle, for the cost model of chooseGrid.
constexpr double kRate = 1.0;

// Where tile number `tile` of the `tiles` of a group of `rows` rows begins. Heights are nearly equal: 16 rows are 8 + 8, which wastes less
// than 14 + 2.
ASDM_INLINE int64_t tileRow(int64_t tile, int64_t tiles, int64_t rows) { return tile * rows / tiles; }

// What a thread keeps while it works on a task's tiles: nothing.
struct TileState {};

template <class E>
struct TileKernels {
  TileKernels() { FillKernels<E, kNv, kMr>::into(table); }
  ASDM_INLINE void run(const Tile<E>& t, TileState&) const { table[(t.columns - 1) / kVf][t.rows - 1](t); }
  TileKernel<E> table[kNv][kMr];
};

}  // namespace asdm::cpu::ASDM_SET

// A tile's kernels for every height and width, with sums in vector registers, for products of floats, of bfloat16 pairs and of bytes: T is
// gemm/tile.inc.h's tile or int8/tile.inc.h's. Beside a tile stands
//   accumulate(t, sum)   sum = the tile's product over its k block; in register_tile.inc.h, or of a set that needs another form
// Include after the tile.
#pragma once

#include "cpu/gemm/finish.inc.h"

namespace asdm::cpu::ASDM_SET {

template <class T, int R, int V>
ASDM_INLINE void storeSums(const typename T::Vector (&sum)[R][V], typename T::Sum* to) {
  ASDM_UNROLL
  for (int r = 0; r < R; r++) {
    ASDM_UNROLL
    for (int v = 0; v < V; v++) T::store(to + r * T::kColumns + v * kVf, sum[r][v]);
  }
}

template <class T, int R, int V>
void tileKernel(const T& t) {
  typename T::Vector sum[R][V];
  accumulate(t, sum);
  if (!t.first) {
    ASDM_UNROLL
    for (int r = 0; r < R; r++) {
      ASDM_UNROLL
      for (int v = 0; v < V; v++) sum[r][v] = T::add(T::load(t.sums + r * T::kColumns + v * kVf), sum[r][v]);
    }
  }
  if (!t.last) {
    storeSums<T>(sum, t.sums);
    return;
  }
  Epilogue<typename T::Element> out = t.out;
  if (t.columns != V * kVf || out.activation != Activation::None) {
    typename T::Sum sums[R * T::kColumns];
    storeSums<T>(sum, sums);
    finishTile(t, sums);
    return;
  }
  out.activation = Activation::None;  // so that nothing is compiled for others
  vf whole[R][V];
  ASDM_UNROLL
  for (int r = 0; r < R; r++) t.values(r, 0, sum[r], whole[r]);
  finish(out, 0, 0, whole, WholeVectors{});
}

// table[V - 1][R - 1]: all heights up to T::kRows; heights differ by at most one within a product, so few are ever used.
template <class T>
using TileKernel = void (*)(const T&);

template <class T, int V, int R>
struct FillKernels {
  static void into(TileKernel<T> (*table)[T::kRows]) {
    table[V - 1][R - 1] = &tileKernel<T, R, V>;
    FillKernels<T, V, R - 1>::into(table);
  }
};
template <class T, int V>
struct FillKernels<T, V, 0> {
  static void into(TileKernel<T> (*table)[T::kRows]) { FillKernels<T, V - 1, T::kRows>::into(table); }
};
template <class T, int R>
struct FillKernels<T, 0, R> {
  static void into(TileKernel<T> (*)[T::kRows]) {}
};

// How many vectors of a tile's row are multiplied per cycle, for the cost model of chooseGrid.
constexpr double kRate = 1.0;

// Where tile number `tile` of the `tiles` of a group of `rows` rows begins. Heights are nearly equal: 16 rows are 8 + 8, which wastes less
// than 14 + 2.
ASDM_INLINE int64_t tileRow(int64_t tile, int64_t tiles, int64_t rows) { return tile * rows / tiles; }

// What a thread keeps while it works on a task's tiles: nothing.
struct TileState {};

template <class T>
struct TileKernels {
  TileKernels() { FillKernels<T, T::kVectors, T::kRows>::into(table); }
  ASDM_INLINE void run(const T& t, TileState&) const { table[(t.columns - 1) / kVf][t.rows - 1](t); }
  TileKernel<T> table[T::kVectors][T::kRows];
};

}  // namespace asdm::cpu::ASDM_SET

// How sums become results, for every product: bias, time embedding, activation and residual added one by one in float, gates, low parts, and one
// rounding to E. Include after a vocabulary, element.inc.h and math.inc.h.
#pragma once

#include "cpu/hints.h"
#include "cpu/vec/math16.inc.h"

namespace asdm::cpu::ASDM_SET {

template <class E>
ASDM_INLINE Epilogue<E> epilogueOf(const LinearArgs& l) {
  return {l.bias,
          nullptr,
          0,
          l.activation,
          static_cast<const E*>(l.residual),
          static_cast<const E*>(l.residualLow),
          l.ldr,
          static_cast<E*>(l.y),
          static_cast<E*>(l.yLow),
          l.ldy};
}
template <class E>
ASDM_INLINE Epilogue<E> epilogueOf(const ConvArgs& a) {
  return {a.bias,
          static_cast<const E*>(a.rowBias),
          a.ldRowBias,
          Activation::None,
          static_cast<const E*>(a.residual),
          static_cast<const E*>(a.residualLow),
          a.shape.n,
          static_cast<E*>(a.y),
          static_cast<E*>(a.yLow),
          a.shape.n};
}

// That of what begins at a row, which is one of `group`, and at a column.
template <class E>
ASDM_INLINE Epilogue<E> epilogueAt(Epilogue<E> e, int64_t group, int64_t row, int64_t column) {
  if (e.bias != nullptr) e.bias += column;
  if (e.rowBias != nullptr) e.rowBias += group * e.ldRowBias + column;
  if (e.residual != nullptr) e.residual += row * e.ldr + column;
  if (e.residualLow != nullptr) e.residualLow += row * e.ldr + column;
  e.y += row * e.ldy + column;
  if (e.yLow != nullptr) e.yLow += row * e.ldy + column;
  return e;
}

// Vectors whole, or their first n lanes.
struct WholeVectors {
  template <class T>
  ASDM_INLINE vf load(const T* p) const {
    return vload(p);
  }
  template <class T>
  ASDM_INLINE void store(T* p, vf v) const {
    vstore(p, v);
  }
};
struct FirstLanes {
  int n;
  template <class T>
  ASDM_INLINE vf load(const T* p) const {
    return vloadn(p, n);
  }
  template <class T>
  ASDM_INLINE void store(T* p, vf v) const {
    vstoren(p, v, n);
  }
};

// Low parts are bfloat16's alone; that the rest is without them shows when it is compiled.
template <class E>
constexpr bool kLowParts = sizeof(E) == 2;

template <class T, int R, int V, class Lanes>
ASDM_INLINE void addToRows(const T* more, vf (&sum)[R][V], Lanes lanes) {
  ASDM_UNROLL
  for (int v = 0; v < V; v++) {
    const vf add = lanes.load(more + v * kVf);
    ASDM_UNROLL
    for (int r = 0; r < R; r++) sum[r][v] = vadd(sum[r][v], add);
  }
}

// The rounding, and what it takes. By value, here and below: what is written is then known not to change the epilogue.
template <class E, int R, int V, class Lanes>
ASDM_INLINE void storeRows(Epilogue<E> e, int64_t row, int64_t column, const vf (&sum)[R][V], Lanes lanes) {
  E* y = e.y + row * e.ldy + column;
  E* yLow = kLowParts<E> && e.yLow != nullptr ? e.yLow + row * e.ldy + column : nullptr;
  // Asked row by row: compilers would keep what both answers have in common, all rows rounded, and have no registers for it.
  ASDM_UNROLL
  for (int r = 0; r < R; r++, y += e.ldy) {
    ASDM_UNROLL
    for (int v = 0; v < V; v++) lanes.store(y + v * kVf, sum[r][v]);
    if (!kLowParts<E> || yLow == nullptr) continue;
    ASDM_UNROLL
    for (int v = 0; v < V; v++) lanes.store(yLow + v * kVf, vsub(sum[r][v], lanes.load(y + v * kVf)));
    yLow += e.ldy;
  }
}

// R rows of V vectors of sums from a row and a column on; the rows are of the epilogue's first group.
template <class E, int R, int V, class Lanes>
ASDM_INLINE void finish(Epilogue<E> e, int64_t row, int64_t column, vf (&sum)[R][V], Lanes lanes) {
  if (e.bias != nullptr) addToRows(e.bias + column, sum, lanes);
  if (e.rowBias != nullptr) addToRows(e.rowBias + column, sum, lanes);
  if (e.activation != Activation::None) {
    ASDM_UNROLL
    for (int r = 0; r < R; r++) {
      ASDM_UNROLL
      for (int v = 0; v < V; v++) sum[r][v] = vactivate(e.activation, sum[r][v]);
    }
  }
  if (e.residual != nullptr) {
    const int64_t from = row * e.ldr + column;
    ASDM_UNROLL
    for (int r = 0; r < R; r++) {
      ASDM_UNROLL
      for (int v = 0; v < V; v++) {
        const int64_t at = from + r * e.ldr + v * kVf;
        vf residual = lanes.load(e.residual + at);
        if (kLowParts<E> && e.residualLow != nullptr) residual = vadd(residual, lanes.load(e.residualLow + at));
        sum[r][v] = vadd(sum[r][v], residual);
      }
    }
  }
  storeRows(e, row, column, sum, lanes);
}

// R vectors of sums below each other, of which the first n lanes count.
template <class E, int R>
ASDM_INLINE void finishVectors(const Epilogue<E>& e, int64_t row, int64_t column, vf (&sum)[R][1], int n) {
  if (n == kVf) finish(e, row, column, sum, WholeVectors{});
  else finish(e, row, column, sum, FirstLanes{n});
}

// What follows is for a tile T (gemm/tile.inc.h, int8/tile.inc.h) and whole sums [rows][T::kColumns].

// V vectors of sums of a row as numbers, of the features from a column of the tile's weights on.
template <class T, int V>
ASDM_INLINE void readRow(const T& t, const typename T::Sum* sums, int r, int64_t column, vf (&to)[V]) {
  typename T::Vector sum[V];
  ASDM_UNROLL
  for (int v = 0; v < V; v++) sum[v] = T::load(sums + r * T::kColumns + v * kVf);
  t.values(r, column, sum, to);
}

// Whole panels without an activation.
template <class T>
ASDM_INLINE void finishWhole(T t, const typename T::Sum* sums) {
  t.out.activation = Activation::None;
  for (int r = 0; r < t.rows; r++) {
    vf row[1][T::kVectors];
    readRow(t, sums, r, 0, row[0]);
    finish(t.out, r, 0, row, WholeVectors{});
  }
}

// Whole panels of gates, and what they gate.
template <class T>
ASDM_INLINE void finishGated(T t, const typename T::Sum* gates) {
  using E = typename T::Element;
  for (int r = 0; r < t.rows; r++) {
    vf value[1][T::kVectors], gate[1][T::kVectors];
    readRow(t, t.gated, r, -t.gatedBy, value[0]);
    readRow(t, gates, r, 0, gate[0]);
    if (t.out.bias != nullptr) {
      addToRows(t.out.bias, value, WholeVectors{});
      addToRows(t.out.bias + t.gatedBy, gate, WholeVectors{});
    }
    ASDM_UNROLL
    for (int v = 0; v < T::kVectors; v++) value[0][v] = vmul(value[0][v], Math<E>::gelu(gate[0][v]));
    storeRows(t.out, r, 0, value, WholeVectors{});
  }
}

template <class T, class Lanes>
ASDM_INLINE void finishColumns(const T& t, const typename T::Sum* sums, int j, Lanes lanes) {
  const Epilogue<typename T::Element> out = t.out;
  for (int r = 0; r < t.rows; r++) {
    vf sum[1][1];
    readRow(t, sums + j, r, j, sum[0]);
    finish(out, r, j, sum, lanes);
  }
}

// The slow way out, for activations and narrow panels.
template <class T>
ASDM_NOINLINE void finishTile(const T& t, const typename T::Sum* sums) {
  if (t.gated != nullptr) {
    finishGated(t, sums);
    return;
  }
  int j = 0;
  for (; j + kVf <= t.columns; j += kVf) finishColumns(t, sums, j, WholeVectors{});
  if (j < t.columns) finishColumns(t, sums, j, FirstLanes{t.columns - j});
}

}  // namespace asdm::cpu::ASDM_SET

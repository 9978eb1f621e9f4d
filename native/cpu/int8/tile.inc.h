// A tile of a product, for every set: kMr rows times kNv vectors of output features over one block of k. Include after quantize.inc.h with
// kMr (rows), kNv (vectors), kKc (longest k block, a multiple of 64), kSlot, and the integer vocabulary of the set defined:
//   Left               the type of copied bytes u - kLeftOffset
//   vi                 kVf 32-bit integers; viZero, viSet, viLoad, viStore, viAdd, viSub, viMul (modulo 2^32), viFloat
#pragma once

#include "cpu/gemm/finish.inc.h"

namespace asdm::cpu::ASDM_SET::int8 {

constexpr int kNr = kNv * kVf;
// Distance of copied rows: an odd number of cache lines, so that a tile's rows fall into different cache sets.
constexpr int64_t kStride = kKc + 64 / static_cast<int64_t>(sizeof(Left));

// The exact sum of (u - zero) q, scaled.
ASDM_INLINE vf scaled(vi sum, vi zero, vf scale, const int32_t* weightSums, const float* scales) {
  return vmul(vmul(viFloat(viSub(sum, viMul(zero, viLoad(weightSums)))), vload(scales)), scale);
}

// One tile's work, as in gemm/tile.inc.h; pointers are to the tile's first element. The sum of earlier k blocks lies in `sums` [rows][kNr]
// unless this is the first; before the last, the new sum goes there too, and what concerns y is ignored.
struct Tile {
  using Element = Bf16;
  using Sum = int32_t;
  using Vector = vi;
  static constexpr int kRows = kMr, kVectors = kNv, kColumns = kNr;
  static constexpr int64_t kStrideBytes = kStride * static_cast<int64_t>(sizeof(Left));
  static ASDM_INLINE vi load(const int32_t* p) { return viLoad(p); }
  static ASDM_INLINE void store(int32_t* p, vi v) { viStore(p, v); }
  static ASDM_INLINE vi add(vi a, vi b) { return viAdd(a, b); }

  const Left* a;     // [rows][kStride]
  const int8_t* b;   // [steps][kNr][kSlot]
  int64_t steps;     // of the k block, a slot each
  int64_t later;     // from b to the panel that follows it
  int rows, columns;
  int place, places;  // of the tile among those that its task multiplies by this panel
  bool first, last;
  int32_t* sums;
  const Quant* quants;  // of the rows, quantStep apart: 0 where all share one
  int64_t quantStep;
  const float* scales;  // of the columns; whole panels
  const int32_t* weightSums;
  Epilogue<Bf16> out;
  const int32_t* gated = nullptr;  // as in gemm/tile.inc.h
  int64_t gatedBy;

  // Whole sums of a row as numbers, from a column of b on: scaled.
  template <int V>
  ASDM_INLINE void values(int r, int64_t column, const vi (&sum)[V], vf (&to)[V]) const {
    const Quant& quant = quants[r * quantStep];
    const vi zero = viSet(quant.zero - kLeftOffset);
    const vf scale = vset(quant.scale);
    ASDM_UNROLL
    for (int v = 0; v < V; v++) to[v] = scaled(sum[v], zero, scale, weightSums + column + v * kVf, scales + column + v * kVf);
  }
  ASDM_INLINE void fetchNext(int64_t) const {}
};

// sum = the tile's product over this k block; defined by register_tile.inc.h, or by a set that needs another form.
template <int R, int V>
ASDM_INLINE void accumulate(const Tile& t, vi (&sum)[R][V]);

}  // namespace asdm::cpu::ASDM_SET::int8

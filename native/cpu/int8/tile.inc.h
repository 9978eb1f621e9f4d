// The register tile, for every set: R rows times V vectors of output features over one block of k. Include after quantize.inc.h with
// kMr (rows), kNv (vectors), kKc (longest k block, a multiple of 64), kSlot, and the integer vocabulary of the set defined:
//   Left               the type of copied bytes u - kLeftOffset
//   vi                 kVf 32-bit integers; viZero, viSet, viLoad, viStore, viAdd, viSub, viMul (modulo 2^32), viFloat
//   accumulate<R, V>   sum = the tile's product over this k block
#pragma once

namespace asdm::cpu::ASDM_SET::int8 {

constexpr int kNr = kNv * kVf;
// Distance of copied rows: an odd number of cache lines, so that a tile's rows fall into different cache sets.
constexpr int64_t kStride = kKc + 64 / static_cast<int64_t>(sizeof(Left));

// One tile's work; pointers are to the tile's first element. The sum of earlier k blocks lies in `sums` [rows][kNr] unless this is
// the first; before the last, the new sum goes there too, and what concerns y is ignored.
struct Tile {
  const Left* a;     // [rows][kStride]
  const int8_t* b;   // [slots][kNr][kSlot]
  int64_t slots;
  int rows, columns;
  bool first, last;
  int32_t* sums;
  const Quant* quants;  // of the rows, quantStep apart: 0 where all share one
  int64_t quantStep;
  const float* scales;  // of the columns; whole panels
  const int32_t* weightSums;
  const float* bias;
  const uint16_t* rowBias;
  Activation activation;
  const uint16_t* residual;
  const uint16_t* residualLow;  // low parts (backend/kernels.h)
  int64_t ldr;
  uint16_t* y;
  uint16_t* yLow;
  int64_t ldy;
};

// The exact sum of (u - zero) q, scaled.
ASDM_INLINE vf scaled(vi sum, vi zero, vf scale, const int32_t* weightSums, const float* scales) {
  return vmul(vmul(viFloat(viSub(sum, viMul(zero, viLoad(weightSums)))), vload(scales)), scale);
}

// The slow way out, for activations and narrow panels: finishes whole sums [rows][kNr] to y.
ASDM_NOINLINE inline void finishTile(const Tile& t, const int32_t* sums) {
  for (int r = 0; r < t.rows; r++) {
    const Quant& quant = t.quants[r * t.quantStep];
    const vi zero = viSet(quant.zero - kLeftOffset);
    const vf scale = vset(quant.scale);
    for (int j = 0; j < t.columns; j += kVf) {
      const int n = t.columns - j < kVf ? t.columns - j : kVf;
      vf v = scaled(viLoad(sums + r * kNr + j), zero, scale, t.weightSums + j, t.scales + j);
      if (t.bias != nullptr) v = vadd(v, vloadn(t.bias + j, n));
      if (t.rowBias != nullptr) v = vadd(v, vloadhn(t.rowBias + j, n));
      v = vactivate(t.activation, v);
      if (t.residual != nullptr) {
        vf residual = vloadhn(t.residual + r * t.ldr + j, n);
        if (t.residualLow != nullptr) residual = vadd(residual, vloadhn(t.residualLow + r * t.ldr + j, n));
        v = vadd(v, residual);
      }
      vstorehn(t.y + r * t.ldy + j, v, n);
      if (t.yLow != nullptr) vstorehn(t.yLow + r * t.ldy + j, vsub(v, vloadhn(t.y + r * t.ldy + j, n)), n);
    }
  }
}

template <int R, int V>
ASDM_INLINE void storeSums(const vi (&sum)[R][V], int32_t* to) {
  ASDM_UNROLL
  for (int r = 0; r < R; r++) {
    ASDM_UNROLL
    for (int v = 0; v < V; v++) viStore(to + r * kNr + v * kVf, sum[r][v]);
  }
}

template <int R, int V>
ASDM_INLINE void accumulate(const Tile& t, vi (&sum)[R][V]);

template <int R, int V>
void tileKernel(const Tile& t) {
  vi sum[R][V];
  accumulate<R, V>(t, sum);
  if (!t.first) {
    ASDM_UNROLL
    for (int r = 0; r < R; r++) {
      ASDM_UNROLL
      for (int v = 0; v < V; v++) sum[r][v] = viAdd(viLoad(t.sums + r * kNr + v * kVf), sum[r][v]);
    }
  }
  if (!t.last) {
    storeSums<R, V>(sum, t.sums);
    return;
  }
  if (t.columns != V * kVf || t.activation != Activation::None) {
    int32_t sums[R * kNr];
    storeSums<R, V>(sum, sums);
    finishTile(t, sums);
    return;
  }
  ASDM_UNROLL
  for (int r = 0; r < R; r++) {
    const Quant& quant = t.quants[r * t.quantStep];
    const vi zero = viSet(quant.zero - kLeftOffset);
    const vf scale = vset(quant.scale);
    ASDM_UNROLL
    for (int v = 0; v < V; v++) {
      vf x = scaled(sum[r][v], zero, scale, t.weightSums + v * kVf, t.scales + v * kVf);
      if (t.bias != nullptr) x = vadd(x, vload(t.bias + v * kVf));
      if (t.rowBias != nullptr) x = vadd(x, vloadh(t.rowBias + v * kVf));
      if (t.residual != nullptr) {
        vf residual = vloadh(t.residual + r * t.ldr + v * kVf);
        if (t.residualLow != nullptr) residual = vadd(residual, vloadh(t.residualLow + r * t.ldr + v * kVf));
        x = vadd(x, residual);
      }
      vstoreh(t.y + r * t.ldy + v * kVf, x);
      if (t.yLow != nullptr) vstoreh(t.yLow + r * t.ldy + v * kVf, vsub(x, vloadh(t.y + r * t.ldy + v * kVf)));
    }
  }
}

// table[V - 1][R - 1]: all heights up to kMr; heights differ by at most one within a product, so few are ever used.
using TileKernel = void (*)(const Tile&);

template <int V, int R>
struct FillKernels {
  static void into(TileKernel (*table)[kMr]) {
    table[V - 1][R - 1] = &tileKernel<R, V>;
    FillKernels<V, R - 1>::into(table);
  }
};
template <int V>
struct FillKernels<V, 0> {
  static void into(TileKernel (*table)[kMr]) { FillKernels<V - 1, kMr>::into(table); }
};
template <>
struct FillKernels<0, kMr> {
  static void into(TileKernel (*)[kMr]) {}
};

}  // namespace asdm::cpu::ASDM_SET::int8

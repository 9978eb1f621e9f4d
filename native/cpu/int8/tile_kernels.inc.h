// A tile's kernels for every height and width, with sums in vector registers. Include after tile.inc.h.
#pragma once

namespace asdm::cpu::ASDM_SET::int8 {

template <int R, int V>
ASDM_INLINE void storeSums(const vi (&sum)[R][V], int32_t* to) {
  ASDM_UNROLL
  for (int r = 0; r < R; r++) {
    ASDM_UNROLL
    for (int v = 0; v < V; v++) viStore(to + r * kNr + v * kVf, sum[r][v]);
  }
}

// sum = the tile's product over this k block; defined by register_tile.inc.h, or by a set that needs another form.
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

// As in gemm/tile_kernels.inc.h.
constexpr double kRate = 1.0;
ASDM_INLINE int64_t tileRow(int64_t tile, int64_t tiles, int64_t rows) { return tile * rows / tiles; }
struct TileState {};
struct TileKernels {
  TileKernels() { FillKernels<kNv, kMr>::into(table); }
  ASDM_INLINE void run(const Tile& t, TileState&) const { table[(t.columns - 1) / kVf][t.rows - 1](t); }
  TileKernel table[kNv][kMr];
};

}  // namespace asdm::cpu::ASDM_SET::int8

// The tile of sets with tile registers in 8-bit integers; as gemm/amx_tile.inc.h. Include after tile.inc.h.
#pragma once

namespace asdm::cpu::ASDM_SET::int8 {

constexpr double kRate = 16.0;
ASDM_INLINE int64_t tileRow(int64_t tile, int64_t, int64_t) { return tile * kMr; }

// Finishes whole sums [rows][kNr] of a whole panel, without an activation. By value: what it writes is then known
// not to change the tile.
ASDM_INLINE void finishWhole(Tile t, const int32_t* sums) {
  for (int r = 0; r < t.rows; r++) {
    const Quant& quant = t.quants[r * t.quantStep];
    const vi zero = viSet(quant.zero - kLeftOffset);
    const vf scale = vset(quant.scale);
    ASDM_UNROLL
    for (int v = 0; v < kNv; v++) {
      const int j = v * kVf;
      vf x = scaled(viLoad(sums + r * kNr + j), zero, scale, t.weightSums + j, t.scales + j);
      if (t.bias != nullptr) x = vadd(x, vload(t.bias + j));
      if (t.rowBias != nullptr) x = vadd(x, vloadh(t.rowBias + j));
      if (t.residual != nullptr) {
        vf residual = vloadh(t.residual + r * t.ldr + j);
        if (t.residualLow != nullptr) residual = vadd(residual, vloadh(t.residualLow + r * t.ldr + j));
        x = vadd(x, residual);
      }
      vstoreh(t.y + r * t.ldy + j, x);
      if (t.yLow != nullptr) vstoreh(t.yLow + r * t.ldy + j, vsub(x, vloadh(t.y + r * t.ldy + j)));
    }
  }
}

template <int I, int J>
void tileKernel(const Tile& t) {
  constexpr int64_t kRowBytes = kNr * sizeof(int32_t), kStepBytes = kNr * kSlot;
  const int64_t steps = t.slots / kSide;
  Ahead ahead = Ahead::of(t.b + t.later, t.slots * kStepBytes, steps, t.place, t.places);
  if (t.last) {
    ahead.out = reinterpret_cast<const char*>(t.y);
    ahead.outStride = t.ldy * 2;
    ahead.added = t.residual != nullptr ? reinterpret_cast<const char*>(t.residual) : ahead.out;
    ahead.addedStride = t.residual != nullptr ? t.ldr * 2 : 0;
    ahead.rows = t.rows;
  }
  if (t.first) zeroSums<I, J>();
  else loadSums<I, J>(t.sums, kRowBytes);
  multiplyTiles<Bytes, I, J>(t.a, kStride, kTileBytes, t.b, kStepBytes, kSide * kStepBytes, steps,
                             [&](int64_t step) { ahead.fetch(step); });
  if (!t.last) {
    storeSums<I, J>(t.sums, kRowBytes);
    return;
  }
  alignas(64) int32_t sums[kMr * kNr];
  storeSums<I, J>(sums, kRowBytes);
  if (t.columns == kNr && t.activation == Activation::None) finishWhole(t, sums);
  else finishTile(t, sums);
}

struct TileKernels {
  ASDM_INLINE void run(const Tile& t, TileState& state) const {
    state.shape(t.rows);
    if (t.rows > kSide) {
      if (t.columns > kSide) tileKernel<2, 2>(t);
      else tileKernel<2, 1>(t);
    } else {
      if (t.columns > kSide) tileKernel<1, 2>(t);
      else tileKernel<1, 1>(t);
    }
  }
};

}  // namespace asdm::cpu::ASDM_SET::int8

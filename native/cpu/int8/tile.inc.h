// A tile of a product, for every set: kMr rows times kNv vectors of output features over one block of k. Include after quantize.inc.h with
// kMr (rows), kNv (vectors), kKc (longest k block, a multiple of 64), kSlot, and the integer vocabulary of the set defined:
//   Left               the type of copied bytes u - kLeftOffset
//   vi                 kVf 32-bit integers; viZero, viSet, viLoad, viStore, viAdd, viSub, viMul (modulo 2^32), viFloat
#pragma once

#include "cpu/vec/math16.inc.h"

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
  int64_t later;     // from b to the panel that follows it
  int rows, columns;
  int place, places;  // of the tile among those that its task multiplies by this panel
  bool first, last;
  int32_t* sums;
  const Quant* quants;  // of the rows, quantStep apart: 0 where all share one
  int64_t quantStep;
  const float* scales;  // of the columns; whole panels
  const int32_t* weightSums;
  // Whole sums [rows][kNr] of the features that these are the gates of (LinearArgs::gated), which come `gatedBy` features before; or null.
  const int32_t* gated = nullptr;
  int64_t gatedBy;
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

// The way out for gates: their whole sums [rows][kNr], and those of what they gate, to y. Panels are whole. By value: what it writes is then
// known not to change the tile.
ASDM_INLINE void finishGated(Tile t, const int32_t* gates) {
  for (int r = 0; r < t.rows; r++) {
    const Quant& quant = t.quants[r * t.quantStep];
    const vi zero = viSet(quant.zero - kLeftOffset);
    const vf scale = vset(quant.scale);
    ASDM_UNROLL
    for (int j = 0; j < kNr; j += kVf) {
      const int64_t from = j - t.gatedBy;
      vf value = scaled(viLoad(t.gated + r * kNr + j), zero, scale, t.weightSums + from, t.scales + from);
      vf gate = scaled(viLoad(gates + r * kNr + j), zero, scale, t.weightSums + j, t.scales + j);
      if (t.bias != nullptr) {
        value = vadd(value, vload(t.bias + from));
        gate = vadd(gate, vload(t.bias + j));
      }
      const vf v = vmul(value, Math<Bf16>::gelu(gate));
      vstoreh(t.y + r * t.ldy + j, v);
      if (t.yLow != nullptr) vstoreh(t.yLow + r * t.ldy + j, vsub(v, vloadh(t.y + r * t.ldy + j)));
    }
  }
}

// The slow way out, for activations and narrow panels: finishes whole sums [rows][kNr] to y.
ASDM_NOINLINE inline void finishTile(const Tile& t, const int32_t* sums) {
  if (t.gated != nullptr) {
    finishGated(t, sums);
    return;
  }
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

}  // namespace asdm::cpu::ASDM_SET::int8

// A tile of a product, for every set: kMr rows times kNv vectors of output features over one block of k. Include after a vocabulary and
// math.inc.h, with kMr (rows), kNv (vectors) and kKc (longest k block, in steps, a multiple of 32) defined in the set's namespace. What
// computes it is in tile_kernels.inc.h, for sums in vector registers.
#pragma once

#include "cpu/gemm/left.inc.h"
#include "cpu/hints.h"
#include "cpu/vec/math16.inc.h"

namespace asdm::cpu::ASDM_SET {

constexpr int kNr = kNv * kVf;
// Elements of packed weights at one step.
constexpr int kStep = kNr * kGroup;
// Distance of copied rows: an odd number of cache lines, so that a tile's rows fall into different cache sets.
constexpr int64_t kStride = (kKc + 16) * kGroup;
// Rows of the block to come that one tile fetches ahead.
constexpr int kNext = 4;
constexpr int64_t kCacheLine = 64;

// One tile's work; pointers are to the tile's first element. The sum of earlier k blocks lies in `sums` [rows][kNr] unless this is
// the first; before the last, the new sum goes there too, and what concerns y is ignored.
template <class E>
struct Tile {
  const Left* a;  // [rows][kStride]
  const E* b;     // [kc][kNr][kGroup]
  int64_t kc;     // steps
  int64_t later;  // from b to the panel that follows it
  int rows, columns;
  int place, places;  // of the tile among those that its task multiplies by this panel
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
  // Whole sums [rows][kNr] of the features that these are the gates of (LinearArgs::gated), which come `gatedBy` features before; or null.
  const float* gated = nullptr;
  int64_t gatedBy;
  // What will be read later, to be fetched meanwhile, nextStep bytes at a step of kc (those of a row to be copied, unless more is said); or
  // any readable address.
  const void* next[kNext];
  int64_t nextStep = kGroup * static_cast<int64_t>(sizeof(E));
};

// The way out for gates: their whole sums [rows][kNr], and those of what they gate, to y. Panels are whole. By value: what it writes is then
// known not to change the tile.
template <class E>
ASDM_INLINE void finishGated(Tile<E> t, const float* gates) {
  for (int r = 0; r < t.rows; r++) {
    ASDM_UNROLL
    for (int j = 0; j < kNr; j += kVf) {
      vf value = vload(t.gated + r * kNr + j), gate = vload(gates + r * kNr + j);
      if (t.bias != nullptr) {
        value = vadd(value, vload(t.bias - t.gatedBy + j));
        gate = vadd(gate, vload(t.bias + j));
      }
      const vf v = vmul(value, Math<E>::gelu(gate));
      vstore(t.y + r * t.ldy + j, v);
      if (t.yLow != nullptr) vstore(t.yLow + r * t.ldy + j, vsub(v, vload(t.y + r * t.ldy + j)));
    }
  }
}

// The slow way out, for activations and narrow panels: finishes whole sums [rows][kNr] to y.
template <class E>
ASDM_NOINLINE void finishTile(const Tile<E>& t, const float* sums) {
  if (t.gated != nullptr) {
    finishGated(t, sums);
    return;
  }
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

}  // namespace asdm::cpu::ASDM_SET

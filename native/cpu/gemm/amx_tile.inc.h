// The tile of sets with tile registers, and its sizes. Include after the vocabulary, math.inc.h and the words for tile registers.
#pragma once

namespace asdm::cpu::ASDM_SET {
// 32 x 32, see tile_registers.inc.h.
constexpr int kMr = 32;
constexpr int kNv = 32 / kVf;
// A panel of 256 pairs of k is 32 KB of the 48 KB of first-level cache. Between blocks of k a tile's sums go to memory and back, 128 lines
// beside the 512 of left rows in some 1024 cycles of products: the second level is then busy two thirds of the time.
constexpr int64_t kKc = 256;
// 16 tiles of copied rows (560 KB) and their sums for 16 panels (1 MB) share 2 MB of second-level cache; a panel that comes from further
// away serves 16 thousand cycles of products.
constexpr int64_t kMaxTiles = 16;
constexpr int64_t kMaxPanels = 16;
}  // namespace asdm::cpu::ASDM_SET

#include "cpu/gemm/tile.inc.h"
#include "cpu/gemm/tile_registers.inc.h"

namespace asdm::cpu::ASDM_SET {

constexpr double kRate = 16.0;

// Tile::nextStep is always this.
constexpr int64_t kNextStep = kTileBytes / kSide;

// All tiles but a group's last are whole: a product of tiles takes no less time for fewer rows beyond 16.
ASDM_INLINE int64_t tileRow(int64_t tile, int64_t, int64_t) { return tile * kMr; }

// Finishes whole sums [rows][kNr] of a whole panel, without an activation. By value: what it writes is then known
// not to change the tile.
template <class E>
ASDM_INLINE void finishWhole(Tile<E> t, const float* sums) {
  for (int r = 0; r < t.rows; r++) {
    ASDM_UNROLL
    for (int v = 0; v < kNv; v++) {
      const int j = v * kVf;
      vf x = vload(sums + r * kNr + j);
      if (t.bias != nullptr) x = vadd(x, vload(t.bias + j));
      if (t.rowBias != nullptr) x = vadd(x, vload(t.rowBias + j));
      if (t.residual != nullptr) {
        vf residual = vload(t.residual + r * t.ldr + j);
        if (t.residualLow != nullptr) residual = vadd(residual, vload(t.residualLow + r * t.ldr + j));
        x = vadd(x, residual);
      }
      vstore(t.y + r * t.ldy + j, x);
      if (t.yLow != nullptr) vstore(t.yLow + r * t.ldy + j, vsub(x, vload(t.y + r * t.ldy + j)));
    }
  }
}

template <class E, int I, int J>
void tileKernel(const Tile<E>& t) {
  constexpr int64_t kRowBytes = kNr * sizeof(float), kOf = sizeof(E);
  const int64_t steps = t.kc / kSide;
  Ahead ahead = Ahead::of(t.b + t.later, t.kc * kStep * kOf, steps, t.place, t.places);
  if (t.last) {
    ahead.out = reinterpret_cast<const char*>(t.y);
    ahead.outStride = t.ldy * kOf;
    ahead.added = t.residual != nullptr ? reinterpret_cast<const char*>(t.residual) : ahead.out;
    ahead.addedStride = t.residual != nullptr ? t.ldr * kOf : 0;
    ahead.rows = t.rows;
  }
  if (t.first) zeroSums<I, J>();
  else loadSums<I, J>(t.sums, kRowBytes);
  multiplyTiles<PairsOfBf16, I, J>(t.a, kStride * kOf, kTileBytes, t.b, kStep * kOf, kSide * kStep * kOf, steps, [&](int64_t step) {
    for (int i = 0; i < kNext; i++) ASDM_PREFETCH_L2(static_cast<const char*>(t.next[i]) + step * kTileBytes);
    ahead.fetch(step);
  });
  if (!t.last) {
    storeSums<I, J>(t.sums, kRowBytes);
    return;
  }
  alignas(64) float sums[kMr * kNr];
  storeSums<I, J>(sums, kRowBytes);
  if (t.columns == kNr && t.activation == Activation::None) finishWhole(t, sums);
  else finishTile(t, sums);
}

template <class E>
struct TileKernels {
  ASDM_INLINE void run(const Tile<E>& t, TileState& state) const {
    state.shape(t.rows);
    if (t.rows > kSide) {
      if (t.columns > kSide) tileKernel<E, 2, 2>(t);
      else tileKernel<E, 2, 1>(t);
    } else {
      if (t.columns > kSide) tileKernel<E, 1, 2>(t);
      else tileKernel<E, 1, 1>(t);
    }
  }
};

}  // namespace asdm::cpu::ASDM_SET

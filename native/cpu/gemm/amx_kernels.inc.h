// A tile's kernels with sums in tile registers, for products of bfloat16 pairs and of bytes: T is gemm/tile.inc.h's tile or int8/tile.inc.h's.
// The counterpart of tile_kernels.inc.h. Include after the words for tile registers and the tile.
#pragma once

#include "cpu/gemm/finish.inc.h"
#include "cpu/gemm/tile_registers.inc.h"

namespace asdm::cpu::ASDM_SET {

constexpr double kRate = 16.0;

// All tiles but a group's last are whole: a product of tiles takes no less time for fewer rows beyond 16.
ASDM_INLINE int64_t tileRow(int64_t tile, int64_t, int64_t) { return tile * 2 * kSide; }

template <class T, int I, int J>
void tileKernel(const T& t) {
  using Numbers = typename std::conditional<std::is_same<typename T::Sum, float>::value, PairsOfBf16, Bytes>::type;
  // A step's row of the right side is as long as a row of sums.
  constexpr int64_t kRowBytes = T::kColumns * 4, kOf = sizeof(typename T::Element);
  const int64_t steps = t.steps / kSide;
  Ahead ahead = Ahead::of(t.b + t.later, t.steps * kRowBytes, steps, t.place, t.places);
  if (t.last) {
    ahead.out = reinterpret_cast<const char*>(t.out.y);
    ahead.outStride = t.out.ldy * kOf;
    ahead.added = t.out.residual != nullptr ? reinterpret_cast<const char*>(t.out.residual) : ahead.out;
    ahead.addedStride = t.out.residual != nullptr ? t.out.ldr * kOf : 0;
    ahead.rows = t.rows;
  }
  if (t.first) zeroSums<I, J>();
  else loadSums<I, J>(t.sums, kRowBytes);
  multiplyTiles<Numbers, I, J>(t.a, T::kStrideBytes, kTileBytes, t.b, kRowBytes, kSide * kRowBytes, steps, [&](int64_t step) {
    t.fetchNext(step * kTileBytes);
    ahead.fetch(step);
  });
  if (!t.last) {
    storeSums<I, J>(t.sums, kRowBytes);
    return;
  }
  alignas(64) typename T::Sum sums[T::kRows * T::kColumns];
  storeSums<I, J>(sums, kRowBytes);
  if (t.columns == T::kColumns && t.out.activation == Activation::None) finishWhole(t, sums);
  else finishTile(t, sums);
}

template <class T>
struct TileKernels {
  static_assert(T::kRows == 2 * kSide && T::kColumns == 2 * kSide, "2 x 2 registers");
  ASDM_INLINE void run(const T& t, TileState& state) const {
    state.shape(t.rows);
    if (t.rows > kSide) {
      if (t.columns > kSide) tileKernel<T, 2, 2>(t);
      else tileKernel<T, 2, 1>(t);
    } else {
      if (t.columns > kSide) tileKernel<T, 1, 2>(t);
      else tileKernel<T, 1, 1>(t);
    }
  }
};

}  // namespace asdm::cpu::ASDM_SET

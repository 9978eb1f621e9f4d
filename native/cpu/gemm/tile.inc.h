// A tile of a product, for every set: kMr rows times kNv vectors of output features over one block of k. Include after a vocabulary and
// math.inc.h, with kMr (rows), kNv (vectors) and kKc (longest k block, in steps, a multiple of 32) defined in the set's namespace. What
// computes it is in tile_kernels.inc.h, for sums in vector registers, or amx_kernels.inc.h.
#pragma once

#include "cpu/gemm/finish.inc.h"
#include "cpu/gemm/left.inc.h"

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
  // For finish.inc.h and the kernels: what y holds; a sum as it is kept, a vector of them, how that is read, written and added.
  using Element = E;
  using Sum = float;
  using Vector = vf;
  static constexpr int kRows = kMr, kVectors = kNv, kColumns = kNr;
  static constexpr int64_t kStrideBytes = kStride * static_cast<int64_t>(sizeof(Left));
  static ASDM_INLINE vf load(const float* p) { return vload(p); }
  static ASDM_INLINE void store(float* p, vf v) { vstore(p, v); }
  static ASDM_INLINE vf add(vf a, vf b) { return vadd(a, b); }

  const Left* a;  // [rows][kStride]
  const E* b;     // [steps][kNr][kGroup]
  int64_t steps;  // of the k block
  int64_t later;  // from b to the panel that follows it
  int rows, columns;
  int place, places;  // of the tile among those that its task multiplies by this panel
  bool first, last;
  float* sums;
  Epilogue<E> out;
  // Whole sums [rows][kNr] of what these are the gates of (LinearArgs::gated), whose features come `gatedBy` before; or null. `out` is
  // theirs.
  const float* gated = nullptr;
  int64_t gatedBy;
  // What will be read later, to be fetched meanwhile, nextStep bytes at each step (those of a row to be copied, unless more is said); or
  // any readable address.
  const void* next[kNext];
  int64_t nextStep = kGroup * static_cast<int64_t>(sizeof(E));

  // Whole sums of a row as numbers, from a column of b on: as they are.
  template <int V>
  ASDM_INLINE void values(int, int64_t, const vf (&sum)[V], vf (&to)[V]) const {
    ASDM_UNROLL
    for (int v = 0; v < V; v++) to[v] = sum[v];
  }
  ASDM_INLINE void fetchNext(int64_t bytes) const {
    for (int i = 0; i < kNext; i++) ASDM_PREFETCH_L2(static_cast<const char*>(next[i]) + bytes);
  }
};

}  // namespace asdm::cpu::ASDM_SET

// What a query tile remembers between blocks of keys, and what moves it. Include after a vocabulary and weight.inc.h, with kKeyTile
// (keys per score tile), kValueTile (value columns per tile) and kMaxVectors (query vectors per tile) defined: kKeyTile * kMaxVectors
// accumulators have to fit the registers.
#pragma once

namespace asdm::cpu::ASDM_SET {

// A row's reference moves only when a score passes it by this much in the exponent of 2: weights stay below 2^8, and the
// accumulators need rescaling a few times per row instead of at every new maximum.
constexpr float kSlack = 8.0f;

// A tile of Vectors * kVf queries with its running state; W = Vectors * kVf is the row width of qt and o. Packed is the type of the
// products' operands: float, or Bf16, where two neighbours (dimensions, keys) lie side by side.
template <class Packed>
struct QueryTile {
  Packed* qt;     // [headDim][W], or [headDim / 2][W][2]
  float* o;       // [padded headDim][W], sum of weight * value
  float* ref;     // [W], in units of the exponent of 2
  float* sum;     // [W], sum of weights
  float* alpha;   // [W], factor by which a moved reference rescales o
  float* scores;  // [keys of a block][W], shared by a worker's tiles; weights take their place
};

// A block of packed keys and values, as the products' pack writes them.
template <class Packed>
struct KeyBlock {
  const Packed* k;
  const Packed* v;
  int keys;            // those the tile looks at
  int stored;          // those in the block, rounded up to whole pairs
  bool first;
  int64_t diagonal;    // causal: the block's first key minus the tile's first query; else far below zero
};

ASDM_INLINE int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
ASDM_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
ASDM_INLINE int64_t larger(int64_t a, int64_t b) { return a < b ? b : a; }

// Hides from query `lane` of the tile every key after it: key i of the block is visible while firstKey + i <= lane.
template <int Vectors>
ASDM_INLINE void hideLater(float* scores, int keys, int64_t firstKey) {
  vf lane[Vectors];
  float ramp[Vectors * kVf];
  for (int i = 0; i < Vectors * kVf; i++) ramp[i] = static_cast<float>(i);
  for (int v = 0; v < Vectors; v++) lane[v] = vload(ramp + v * kVf);
  for (int i = 0; i < keys; i++) {
    const vf key = vset(static_cast<float>(firstKey + i));
    for (int v = 0; v < Vectors; v++) {
      float* s = scores + (i * Vectors + v) * kVf;
      vstore(s, vselect(vlt(lane[v], key), vset(-std::numeric_limits<float>::infinity()), vload(s)));
    }
  }
}

// Given each row's largest score of a block, moves references that were passed by more than the slack and rescales their sums. True
// when some did: alpha then says how much smaller each row's earlier weights have become.
template <int Vectors>
ASDM_INLINE bool moveReference(float* refs, float* sums, float* alphas, const vf* best, float c) {
  vf ref[Vectors];
  bool moved = false;
  for (int v = 0; v < Vectors; v++) {
    const vf old = vload(refs + v * kVf);
    const vf top = vmul(best[v], vset(c));
    ref[v] = vselect(vlt(vadd(old, vset(kSlack)), top), top, old);
    if (vmaxlane(vsub(ref[v], old)) > 0.0f) moved = true;
  }
  if (moved)
    for (int v = 0; v < Vectors; v++) {
      const vf old = vload(refs + v * kVf);
      // Exactly 1 where the reference stayed, so that a row's bits do not depend on its neighbours.
      const vf alpha = vselect(vlt(old, ref[v]), vweight(vsub(old, ref[v])), vset(1.0f));
      vstore(alphas + v * kVf, alpha);
      vstore(refs + v * kVf, ref[v]);
      vstore(sums + v * kVf, vmul(vload(sums + v * kVf), alpha));
    }
  return moved;
}

}  // namespace asdm::cpu::ASDM_SET

// One query tile against one block of keys: scores, weights, weighted values. Include after a vocabulary and weight.inc.h (or a
// set's own vweight), with kKeyTile (keys per score tile), kValueTile (value columns per tile) and kMaxVectors (query vectors per
// tile) defined: kKeyTile * kMaxVectors accumulators have to fit the registers.
#pragma once

namespace asdm::cpu::ASDM_SET {

// Keys per block. A block's scores (kKeyBlock x tile width, at most 24 KB) stay in the first-level cache from product to product; 77
// keys of a prompt are one block. On Zen 4 128 is 2 % faster than 64.
constexpr int kKeyBlock = 128;
// Longest stretch of headDim that one pass of the score product takes, so that the tile's queries stay in the first-level cache.
constexpr int64_t kDimBlock = 128;
// A row's reference moves only when a score passes it by this much in the exponent of 2: weights stay below 2^8, and the
// accumulators need rescaling a few times per row instead of at every new maximum.
constexpr float kSlack = 8.0f;

// A tile of Vectors * kVf queries with its running state; W = Vectors * kVf is the row width of qt and o.
struct QueryTile {
  float* qt;      // [headDim][W]
  float* o;       // [padded headDim][W], sum of weight * value
  float* ref;     // [W], in units of the exponent of 2
  float* sum;     // [W], sum of weights
  float* alpha;   // [W], factor by which a moved reference rescales o
  float* scores;  // [kKeyBlock][W], shared by a worker's tiles
};

ASDM_INLINE int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// scores[i][:] (+)= sum over dims of k[dim][i] * qt[dim][:] for the kKeyTile keys of a panel.
template <int Vectors>
ASDM_INLINE void scoreTile(const float* ASDM_RESTRICT k, const float* ASDM_RESTRICT qt, int64_t dims, bool more,
                           float* ASDM_RESTRICT scores) {
  vf acc[kKeyTile][Vectors];
  for (int i = 0; i < kKeyTile; i++)
    for (int v = 0; v < Vectors; v++) acc[i][v] = vzero();
  for (int64_t dim = 0; dim < dims; dim++) {
    vf q[Vectors];
    for (int v = 0; v < Vectors; v++) q[v] = vload(qt + v * kVf);
    for (int i = 0; i < kKeyTile; i++) {
      const vf key = vset(k[i]);
      for (int v = 0; v < Vectors; v++) acc[i][v] = vfma(key, q[v], acc[i][v]);
    }
    k += kKeyTile;
    qt += Vectors * kVf;
  }
  for (int i = 0; i < kKeyTile; i++)
    for (int v = 0; v < Vectors; v++) {
      float* s = scores + (i * Vectors + v) * kVf;
      vstore(s, more ? vadd(vload(s), acc[i][v]) : acc[i][v]);
    }
}

// o[j][:] = o[j][:] * alpha + sum over keys of v[key][j] * weights[key][:] for the kValueTile columns of a panel.
template <int Vectors>
ASDM_INLINE void valueTile(const float* ASDM_RESTRICT values, const float* ASDM_RESTRICT weights, int keys, bool first,
                           const float* alpha, float* ASDM_RESTRICT o) {
  vf acc[kValueTile][Vectors];
  for (int j = 0; j < kValueTile; j++)
    for (int v = 0; v < Vectors; v++) acc[j][v] = vzero();
  for (int key = 0; key < keys; key++) {
    vf w[Vectors];
    for (int v = 0; v < Vectors; v++) w[v] = vload(weights + v * kVf);
    for (int j = 0; j < kValueTile; j++) {
      const vf value = vset(values[j]);
      for (int v = 0; v < Vectors; v++) acc[j][v] = vfma(value, w[v], acc[j][v]);
    }
    values += kValueTile;
    weights += Vectors * kVf;
  }
  for (int j = 0; j < kValueTile; j++)
    for (int v = 0; v < Vectors; v++) {
      float* out = o + (j * Vectors + v) * kVf;
      if (first) {
        vstore(out, acc[j][v]);
      } else if (alpha != nullptr) {
        vstore(out, vfma(vload(out), vload(alpha + v * kVf), acc[j][v]));
      } else {
        vstore(out, vadd(vload(out), acc[j][v]));
      }
    }
}

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

// Turns a block's scores into weights 2^(score * c - ref) in place and updates ref and sum. True when some reference moved: alpha
// then says how much smaller each row's earlier weights have become.
template <int Vectors>
ASDM_INLINE bool weightBlock(const QueryTile& tile, int keys, float c) {
  vf best[Vectors], ref[Vectors], sum[Vectors];
  for (int v = 0; v < Vectors; v++) best[v] = vset(-std::numeric_limits<float>::infinity());
  for (int i = 0; i < keys; i++)
    for (int v = 0; v < Vectors; v++) best[v] = vmax(best[v], vload(tile.scores + (i * Vectors + v) * kVf));
  const vf factor = vset(c);
  bool moved = false;
  for (int v = 0; v < Vectors; v++) {
    const vf old = vload(tile.ref + v * kVf);
    const vf top = vmul(best[v], factor);
    ref[v] = vselect(vlt(vadd(old, vset(kSlack)), top), top, old);
    if (vmaxlane(vsub(ref[v], old)) > 0.0f) moved = true;
  }
  if (moved)
    for (int v = 0; v < Vectors; v++) {
      const vf alpha = vweight(vsub(vload(tile.ref + v * kVf), ref[v]));
      vstore(tile.alpha + v * kVf, alpha);
      vstore(tile.ref + v * kVf, ref[v]);
      vstore(tile.sum + v * kVf, vmul(vload(tile.sum + v * kVf), alpha));
    }
  for (int v = 0; v < Vectors; v++) {
    sum[v] = vzero();
    ref[v] = vsub(vzero(), ref[v]);
  }
  for (int i = 0; i < keys; i++)
    for (int v = 0; v < Vectors; v++) {
      float* s = tile.scores + (i * Vectors + v) * kVf;
      const vf weight = vweight(vfma(vload(s), factor, ref[v]));
      sum[v] = vadd(sum[v], weight);
      vstore(s, weight);
    }
  for (int v = 0; v < Vectors; v++) vstore(tile.sum + v * kVf, vadd(vload(tile.sum + v * kVf), sum[v]));
  return moved;
}

// A block of packed keys and values; see pack.inc.h.
struct KeyBlock {
  const float* k;      // score panels [key tile][headDim][kKeyTile]
  const float* v;      // value panels [column tile][stored][kValueTile]
  int keys;            // those the tile looks at
  int stored;          // those in the block
  bool first;
  int64_t diagonal;    // causal: the block's first key minus the tile's first query; else INT64_MIN
};

template <int Vectors>
void tileStep(const QueryTile& tile, const KeyBlock& block, int64_t headDim, float c) {
  constexpr int kWidth = Vectors * kVf;
  const int64_t pieces = ceilDiv(headDim, kDimBlock), piece = ceilDiv(headDim, pieces);
  for (int64_t dim = 0; dim < headDim; dim += piece) {
    const int64_t dims = headDim - dim < piece ? headDim - dim : piece;
    for (int i = 0; i < block.keys; i += kKeyTile)
      scoreTile<Vectors>(block.k + i * headDim + dim * kKeyTile, tile.qt + dim * kWidth, dims, dim > 0,
                         tile.scores + i * kWidth);
  }
  if (block.diagonal + block.keys > 1) hideLater<Vectors>(tile.scores, block.keys, block.diagonal);
  const bool moved = weightBlock<Vectors>(tile, block.keys, c);
  for (int64_t j = 0; j < headDim; j += kValueTile)
    valueTile<Vectors>(block.v + j * block.stored, tile.scores, block.keys, block.first, moved ? tile.alpha : nullptr,
                       tile.o + j * kWidth);
}

}  // namespace asdm::cpu::ASDM_SET

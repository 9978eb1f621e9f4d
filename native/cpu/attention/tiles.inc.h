// One query tile against one block of keys, in float whatever the activations are: scores, weights, weighted values. Include after
// state.inc.h, weight.inc.h (or a set's own vweight) and transpose.inc.h.
#pragma once

namespace asdm::cpu::ASDM_SET {

// Longest stretch of headDim that one pass of the score product takes, so that the tile's queries stay in the first-level cache.
constexpr int64_t kDimBlock = 128;

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
ASDM_INLINE void valueTile(const float* ASDM_RESTRICT values, const float* ASDM_RESTRICT weights, int keys, bool first, const float* alpha,
                           float* ASDM_RESTRICT o) {
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

// Turns a block's scores into weights 2^(score * c - ref) in place and updates ref and sum. True when some reference moved: alpha
// then says how much smaller each row's earlier weights have become.
template <int Vectors>
ASDM_INLINE bool weightBlock(const QueryTile<float>& tile, int keys, float c) {
  vf best[Vectors], ref[Vectors], sum[Vectors];
  for (int v = 0; v < Vectors; v++) best[v] = vset(-std::numeric_limits<float>::infinity());
  for (int i = 0; i < keys; i++)
    for (int v = 0; v < Vectors; v++) best[v] = vmax(best[v], vload(tile.scores + (i * Vectors + v) * kVf));
  const vf factor = vset(c);
  const bool moved = moveReference<Vectors>(tile.ref, tile.sum, tile.alpha, best, c);
  for (int v = 0; v < Vectors; v++) {
    sum[v] = vzero();
    ref[v] = vsub(vzero(), vload(tile.ref + v * kVf));
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

// scores[i][:] = k[i] . qt[:] for the keys of a block, whose panels lie from k on.
template <int Vectors>
ASDM_INLINE void scoreBlock(const float* k, const float* qt, int keys, int64_t headDim, float* scores) {
  constexpr int kWidth = Vectors * kVf;
  const int64_t pieces = ceilDiv(headDim, kDimBlock), piece = ceilDiv(headDim, pieces);
  for (int64_t dim = 0; dim < headDim; dim += piece) {
    const int64_t dims = headDim - dim < piece ? headDim - dim : piece;
    for (int i = 0; i < keys; i += kKeyTile)
      scoreTile<Vectors>(k + i * headDim + dim * kKeyTile, qt + dim * kWidth, dims, dim > 0, scores + i * kWidth);
  }
}

template <int Vectors>
void tileStep(const QueryTile<float>& tile, const KeyBlock<float>& block, int64_t headDim, float c) {
  constexpr int kWidth = Vectors * kVf;
  scoreBlock<Vectors>(block.k, tile.qt, block.keys, headDim, tile.scores);
  if (block.diagonal + block.keys > 1) hideLater<Vectors>(tile.scores, block.keys, block.diagonal);
  const bool moved = weightBlock<Vectors>(tile, block.keys, c);
  for (int64_t j = 0; j < headDim; j += kValueTile)
    valueTile<Vectors>(block.v + j * block.stored, tile.scores, block.keys, block.first, moved ? tile.alpha : nullptr, tile.o + j * kWidth);
}

// The products in float, for activations of type E.
template <class E>
struct FloatProducts {
  using Element = E;
  using Packed = float;
  static constexpr int kPair = 1;
  // Keys per block. A block's scores (kBlock x tile width, at most 24 KB) stay in the first-level cache from product to product; 77
  // keys of a prompt are one block. On Zen 4 128 is 2 % faster than 64.
  static constexpr int kBlock = 128;

  // Copies keys first..first+count-1 of a head (first a multiple of kBlock) to score panels and values to blocks.
  static ASDM_INLINE void pack(const AttentionArgs& a, const E* k, const E* v, int64_t first, int64_t count, float* kOut, float* vOut,
                               int64_t paddedDim) {
    packScores(k, a.ldk, first, count, a.headDim, kOut);
    packValues(v, a.ldv, first, count, a.headDim, paddedDim, vOut);
  }

  // To score panels [tile][headDim][kKeyTile], zeros behind the last key.
  static ASDM_INLINE void packScores(const E* k, int64_t ld, int64_t first, int64_t count, int64_t headDim, float* to) {
    for (int64_t tile = 0; tile < count; tile += kKeyTile) {
      float* out = to + (first + tile) * headDim;
      for (int i = 0; i < kKeyTile; i++) {
        const E* in = k + (first + tile + i) * ld;
        const bool there = tile + i < count;
        for (int64_t dim = 0; dim < headDim; dim++) out[dim * kKeyTile + i] = there ? toFloat(in[dim]) : 0.0f;
      }
    }
  }

  // To value blocks [kBlock keys][column tile][key][kValueTile], zeros right of the last column.
  static ASDM_INLINE void packValues(const E* v, int64_t ld, int64_t first, int64_t count, int64_t headDim, int64_t paddedDim, float* to) {
    for (int64_t block = 0; block < count; block += kBlock) {
      const int64_t stored = smaller(kBlock, count - block);
      float* out = to + (first + block) * paddedDim;
      for (int64_t key = 0; key < stored; key++) {
        const E* in = v + (first + block + key) * ld;
        for (int64_t j = 0; j < paddedDim; j += kValueTile) {
          float* at = out + j * stored + key * kValueTile;
          for (int i = 0; i < kValueTile; i++) at[i] = j + i < headDim ? toFloat(in[j + i]) : 0.0f;
        }
      }
    }
  }

  static ASDM_INLINE void load(const E* q, int64_t ldq, int64_t rows, int64_t headDim, int64_t width, bool negative, float* qt) {
    loadQueries(q, ldq, rows, headDim, width, negative ? -1.0f : 1.0f, qt);
  }

  template <int Vectors>
  static ASDM_INLINE void step(const QueryTile<float>& tile, const KeyBlock<float>& block, int64_t headDim, float c) {
    tileStep<Vectors>(tile, block, headDim, c);
  }
};

template <class E>
using ProductsOf = FloatProducts<E>;

}  // namespace asdm::cpu::ASDM_SET

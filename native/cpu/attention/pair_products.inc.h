// One query tile against one block of keys with products of bfloat16 pairs in vectors. Include after pairs.inc.h.
#pragma once

namespace asdm::cpu::ASDM_SET {

// Longest stretch of pairs of dimensions that one pass of the score product takes.
constexpr int64_t kPairBlock = 128;

// scores[i][:] (+)= sum over pairs of dimensions of k[pair][i] * qt[pair][:] for the kKeyTile keys of a panel. With Best, best[:]
// becomes the largest of itself and the scores.
template <int Vectors, bool Best>
ASDM_INLINE void scorePairs(const Bf16* ASDM_RESTRICT k, const Bf16* ASDM_RESTRICT qt, int64_t pairs, bool more,
                            float* ASDM_RESTRICT scores, float* ASDM_RESTRICT best) {
  vf acc[kKeyTile][Vectors];
  for (int i = 0; i < kKeyTile; i++)
    for (int v = 0; v < Vectors; v++) acc[i][v] = more ? vload(scores + (i * Vectors + v) * kVf) : vzero();
  for (int64_t pair = 0; pair < pairs; pair++) {
    vp q[Vectors];
    for (int v = 0; v < Vectors; v++) q[v] = vpload(qt + v * 2 * kVf);
    for (int i = 0; i < kKeyTile; i++) {
      const vp key = vpset(k + 2 * i);
      for (int v = 0; v < Vectors; v++) acc[i][v] = vdot(key, q[v], acc[i][v]);
    }
    k += 2 * kKeyTile;
    qt += Vectors * 2 * kVf;
  }
  for (int i = 0; i < kKeyTile; i++)
    for (int v = 0; v < Vectors; v++) vstore(scores + (i * Vectors + v) * kVf, acc[i][v]);
  if (Best)
    for (int v = 0; v < Vectors; v++) {
      vf top = vload(best + v * kVf);
      for (int i = 0; i < kKeyTile; i++) top = vmax(top, acc[i][v]);
      vstore(best + v * kVf, top);
    }
}

// o[j][:] = o[j][:] * alpha + sum over pairs of keys of v[pair][j] * weights[pair][:] for the kValueTile columns of a panel.
template <int Vectors>
ASDM_INLINE void valuePairs(const Bf16* ASDM_RESTRICT values, const Bf16* ASDM_RESTRICT weights, int pairs, bool first, const float* alpha,
                            float* ASDM_RESTRICT o) {
  vf acc[kValueTile][Vectors];
  for (int j = 0; j < kValueTile; j++)
    for (int v = 0; v < Vectors; v++) {
      const float* out = o + (j * Vectors + v) * kVf;
      acc[j][v] = first ? vzero() : alpha == nullptr ? vload(out) : vmul(vload(out), vload(alpha + v * kVf));
    }
  for (int pair = 0; pair < pairs; pair++) {
    vp w[Vectors];
    for (int v = 0; v < Vectors; v++) w[v] = vpload(weights + v * 2 * kVf);
    for (int j = 0; j < kValueTile; j++) {
      const vp value = vpset(values + 2 * j);
      for (int v = 0; v < Vectors; v++) acc[j][v] = vdot(value, w[v], acc[j][v]);
    }
    values += 2 * kValueTile;
    weights += Vectors * 2 * kVf;
  }
  for (int j = 0; j < kValueTile; j++)
    for (int v = 0; v < Vectors; v++) vstore(o + (j * Vectors + v) * kVf, acc[j][v]);
}

template <int Vectors>
void pairStep(const QueryTile<Bf16>& tile, const KeyBlock<Bf16>& block, int64_t headDim, float c) {
  constexpr int kWidth = Vectors * kVf;
  const int64_t all = ceilDiv(headDim, 2), pieces = ceilDiv(all, kPairBlock), piece = ceilDiv(all, pieces);
  const bool hides = block.diagonal + block.keys > 1;
  // Keys whose scores are looked at as they come out of the registers; the others are behind the last, or have to be hidden first.
  const int whole = hides ? 0 : block.keys / kKeyTile * kKeyTile;
  float best[kWidth];
  for (int i = 0; i < kWidth; i++) best[i] = -std::numeric_limits<float>::infinity();
  for (int64_t pair = 0; pair < all; pair += piece) {
    const int64_t pairs = smaller(piece, all - pair);
    for (int i = 0; i < block.keys; i += kKeyTile) {
      const Bf16* k = block.k + (i * all + pair * kKeyTile) * 2;
      const Bf16* qt = tile.qt + pair * 2 * kWidth;
      if (i < whole && pair + pairs == all) {
        scorePairs<Vectors, true>(k, qt, pairs, pair > 0, tile.scores + i * kWidth, best);
      } else {
        scorePairs<Vectors, false>(k, qt, pairs, pair > 0, tile.scores + i * kWidth, best);
      }
    }
  }
  if (hides) hideLater<Vectors>(tile.scores, block.keys, block.diagonal);
  for (int i = whole; i < block.keys; i++)
    for (int v = 0; v < Vectors; v++) vstore(best + v * kVf, vmax(vload(best + v * kVf), vload(tile.scores + i * kWidth + v * kVf)));
  const bool moved = pairWeights<Vectors>(tile, best, block.keys, c);
  const Bf16* weights = reinterpret_cast<const Bf16*>(tile.scores);
  for (int64_t j = 0; j < headDim; j += kValueTile)
    valuePairs<Vectors>(block.v + j * block.stored, weights, (block.keys + 1) / 2, block.first, moved ? tile.alpha : nullptr,
                        tile.o + j * kWidth);
}

struct PairProducts {
  using Element = Bf16;
  using Packed = Bf16;
  static constexpr int kPair = 2;
  static constexpr int kBlock = 128;  // keys; a block's scores are 24 KB
  static_assert(kKeyTile * 2 == kVf && kValueTile * 2 == kVf, "a vector of pairs is two panels' rows");

  // Score panels [tile][pair of dimensions][kKeyTile][2], zeros behind the last key and dimension; values in blocks [kBlock keys]
  // [column tile][pair of keys][kValueTile][2], zeros behind the last key and right of the last column.
  static ASDM_INLINE void pack(const AttentionArgs& a, const Bf16* k, const Bf16* v, int64_t first, int64_t count, Bf16* kOut, Bf16* vOut,
                               int64_t paddedDim) {
    const int64_t pairs = ceilDiv(a.headDim, 2), panel = pairs * kKeyTile * 2;
    for (int64_t key = 0; key < count; key += kVf) {
      Bf16* out = kOut + (first + key) * 2 * pairs;
      const bool two = key + kKeyTile < count;
      for (int64_t pair = 0; pair < pairs; pair += kVf) {
        vf block[kVf];
        for (int i = 0; i < kVf; i++)
          block[i] = key + i < count ? vpbits(vploadn(k + (first + key + i) * a.ldk + 2 * pair, a.headDim - 2 * pair)) : vzero();
        vtranspose(block);
        for (int i = 0; i < kVf && pair + i < pairs; i++) {
          Bf16* to = out + (pair + i) * kKeyTile * 2;
          vpsplit(to, two ? to + panel : nullptr, vpfrom(block[i]));
        }
      }
    }
    for (int64_t block = 0; block < count; block += kBlock) {
      const int64_t keys = smaller(kBlock, count - block), stored = (keys + 1) / 2 * 2;
      Bf16* out = vOut + (first + block) * paddedDim;
      for (int64_t key = 0; key < stored; key += 2) {
        const Bf16* even = v + (first + block + key) * a.ldv;
        const Bf16* odd = key + 1 < keys ? even + a.ldv : nullptr;
        for (int64_t j = 0; j < paddedDim; j += kVf) {
          Bf16* to = out + j * stored + key * kValueTile;
          vpsplit(to, j + kValueTile < paddedDim ? to + kValueTile * stored : nullptr,
                  vpjoin(even + j, odd != nullptr ? odd + j : nullptr, a.headDim - j));
        }
      }
    }
  }

  static ASDM_INLINE void load(const Bf16* q, int64_t ldq, int64_t rows, int64_t headDim, int64_t width, bool negative, Bf16* qt) {
    loadPairs(q, ldq, rows, headDim, width, negative, qt);
  }

  template <int Vectors>
  static ASDM_INLINE void step(const QueryTile<Bf16>& tile, const KeyBlock<Bf16>& block, int64_t headDim, float c) {
    pairStep<Vectors>(tile, block, headDim, c);
  }
};

template <class E>
using ProductsOf = PairProducts;

}  // namespace asdm::cpu::ASDM_SET

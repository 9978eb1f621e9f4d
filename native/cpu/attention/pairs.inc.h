// One query tile against one block of keys with bfloat16 products: an instruction multiplies pairs of neighbours and adds both to a
// float. Include after state.inc.h and transpose.inc.h, with these words defined by the set:
//   vp             kVf pairs of bfloat16
//   vpload(p)      kVf pairs from memory; vpset(p): the pair at p in all lanes; vpstore(p, v)
//   vploadn(p, n)  the first n numbers (not pairs), n <= 0 for none; others are zero
//   vpjoin(p, q, n)    lane i = (p[i], q[i]) for i < n; others are zero, and q may be null: zeros
//   vpsplit(p, q, v)   the lower half of the lanes to p, the upper to q
//   vpflip(v)      all numbers with the other sign
//   vpbits(v), vpfrom(f)  the same bits as a vector of floats, and back
//   vpair(a, b)    lane i = (a[i], b[i]), rounded
//   vdot(a, b, c)  c + a.first * b.first + a.second * b.second lane by lane
//   vpairweight(t) 2^t, 0 below 2^-126, NaN for NaN; its error has to vanish beside the rounding of weights, 2^-8
//   vpweights(a, b, scale, base, nan)  the pairs of weights of two vectors of scores, off by at most 2^-7: vpscaleof(c) and
//                  vpbase(ref) are what it needs of c and of the reference. NaN may give any weight, but is noted in nan (a vpnan,
//                  vpnone() at first); vpspoil(sum, nan) makes those lanes NaN
// Pairs are dimensions in the scores' product, keys in the values'. Weights are rounded to bfloat16, and the sum that divides at the
// end is that of the rounded weights, so their errors cancel where they are alike.
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
ASDM_INLINE void valuePairs(const Bf16* ASDM_RESTRICT values, const Bf16* ASDM_RESTRICT weights, int pairs, bool first,
                            const float* alpha, float* ASDM_RESTRICT o) {
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

// Turns a block's scores into pairs of weights 2^(score * c - ref), in their place, and updates ref and sum. best: each row's largest
// score. True when some reference moved; see moveReference.
template <int Vectors>
ASDM_INLINE bool pairWeights(const QueryTile<Bf16>& tile, const float* best, int keys, float c) {
  vf top[Vectors], ref[Vectors], sum[Vectors];
  for (int v = 0; v < Vectors; v++) top[v] = vload(best + v * kVf);
  const bool moved = moveReference<Vectors>(tile.ref, tile.sum, tile.alpha, top, c);
  for (int v = 0; v < Vectors; v++) {
    ref[v] = vsub(vzero(), vload(tile.ref + v * kVf));
    sum[v] = vload(tile.sum + v * kVf);
  }
  const vf factor = vset(c);
  const vpscale scale = vpscaleof(c);
  vf base[Vectors];
  vpnan nan[Vectors];
  for (int v = 0; v < Vectors; v++) {
    base[v] = vpbase(vload(tile.ref + v * kVf));
    nan[v] = vpnone();
  }
  const Bf16 ones[2] = {{0x3f80}, {0x3f80}};
  const vp one = vpset(ones);
  const float* scores = tile.scores;
  Bf16* weights = reinterpret_cast<Bf16*>(tile.scores);
  for (int i = 0; i + 1 < keys; i += 2) {
    for (int v = 0; v < Vectors; v++) {
      const vp both = vpweights(vload(scores + v * kVf), vload(scores + (Vectors + v) * kVf), scale, base[v], nan[v]);
      sum[v] = vdot(both, one, sum[v]);
      vpstore(weights + v * 2 * kVf, both);
    }
    scores += 2 * Vectors * kVf;
    weights += Vectors * 2 * kVf;
  }
  if (keys % 2 != 0)  // the partner is not there, or hidden
    for (int v = 0; v < Vectors; v++) {
      const vp both = vpair(vpairweight(vfma(vload(scores + v * kVf), factor, ref[v])), vzero());
      sum[v] = vdot(both, one, sum[v]);
      vpstore(weights + v * 2 * kVf, both);
    }
  for (int v = 0; v < Vectors; v++) vstore(tile.sum + v * kVf, vpspoil(sum[v], nan[v]));
  return moved;
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
    for (int v = 0; v < Vectors; v++)
      vstore(best + v * kVf, vmax(vload(best + v * kVf), vload(tile.scores + i * kWidth + v * kVf)));
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
  static ASDM_INLINE void pack(const AttentionArgs& a, const Bf16* k, const Bf16* v, int64_t first, int64_t count, Bf16* kOut,
                               Bf16* vOut, int64_t paddedDim) {
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

  // qt[pair][lane] = the pair of q[lane]; lanes behind the last query, and a dimension behind the last, are zero.
  static ASDM_INLINE void load(const Bf16* q, int64_t ldq, int64_t rows, int64_t headDim, int64_t width, bool negative, Bf16* qt) {
    const int64_t pairs = ceilDiv(headDim, 2);
    for (int64_t lane = 0; lane < width; lane += kVf)
      for (int64_t pair = 0; pair < pairs; pair += kVf) {
        vf block[kVf];
        for (int i = 0; i < kVf; i++) {
          block[i] = vzero();
          if (lane + i >= rows) continue;
          const vp numbers = vploadn(q + (lane + i) * ldq + 2 * pair, headDim - 2 * pair);
          block[i] = vpbits(negative ? vpflip(numbers) : numbers);
        }
        vtranspose(block);
        for (int i = 0; i < kVf && pair + i < pairs; i++) vpstore(qt + ((pair + i) * width + lane) * 2, vpfrom(block[i]));
      }
  }

  template <int Vectors>
  static ASDM_INLINE void step(const QueryTile<Bf16>& tile, const KeyBlock<Bf16>& block, int64_t headDim, float c) {
    pairStep<Vectors>(tile, block, headDim, c);
  }
};

template <class E>
void attention(const AttentionArgs& a, KernelContext& context) noexcept {
  attend<PairProducts>(a, context);
}

template <class E>
size_t attentionScratch(const AttentionArgs& a, int threads) noexcept {
  return scratchOf<PairProducts>(a, threads);
}

template void attention<Bf16>(const AttentionArgs&, KernelContext&) noexcept;
template size_t attentionScratch<Bf16>(const AttentionArgs&, int) noexcept;

}  // namespace asdm::cpu::ASDM_SET

// Queries and weights as pairs of bfloat16, for products whose instruction multiplies pairs of neighbours and adds both to a float:
// pair_products.inc.h's, tile_products.inc.h's. Include after state.inc.h and transpose.inc.h, with these words defined by the set:
//   vp             kVf pairs of bfloat16
//   vpload(p)      kVf pairs from memory; vpset(p): the pair at p in all lanes; vpstore(p, v)
//   vploadn(p, n)  the first n numbers (not pairs), n <= 0 for none; others are zero
//   vpjoin(p, q, n)    lane i = (p[i], q[i]) for i < n; others are zero, and q may be null: zeros
//   vpsplit(p, q, v)   the lower half of the lanes to p, the upper to q
//   vpflip(v)      all numbers with the other sign
//   vpbits(v), vpfrom(f)  the same bits as a vector of floats, and back
//   vpsingle(v)    the same with zeros for the second numbers of the pairs
//   vdot(a, b, c)  c + a.first * b.first + a.second * b.second lane by lane
//   vpweights(a, b, scale, base, nan)  the pairs of weights of two vectors of scores, off by at most 2^-7: vpscaleof(c) and
//                  vpbase(ref) are what it needs of c and of the reference. NaN may give any weight, but is noted in nan (a vpnan,
//                  vpnone() at first); vpspoil(sum, nan) makes those lanes NaN
// Pairs are dimensions in the scores' product, keys in the values'. Weights are rounded to bfloat16, and the sum that divides at the
// end is that of the rounded weights, so their errors cancel where they are alike.
#pragma once

namespace asdm::cpu::ASDM_SET {

// Turns a block's scores into pairs of weights 2^(score * c - ref), in their place, and updates ref and sum. best: each row's largest
// score. True when some reference moved; see moveReference.
template <int Vectors>
ASDM_INLINE bool pairWeights(const QueryTile<Bf16>& tile, const float* best, int keys, float c) {
  vf top[Vectors], sum[Vectors];
  for (int v = 0; v < Vectors; v++) top[v] = vload(best + v * kVf);
  const bool moved = moveReference<Vectors>(tile.ref, tile.sum, tile.alpha, top, c);
  const vpscale scale = vpscaleof(c);
  vf base[Vectors];
  vpnan nan[Vectors];
  for (int v = 0; v < Vectors; v++) {
    sum[v] = vload(tile.sum + v * kVf);
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
      const vf score = vload(scores + v * kVf);
      const vp single = vpsingle(vpweights(score, score, scale, base[v], nan[v]));
      sum[v] = vdot(single, one, sum[v]);
      vpstore(weights + v * 2 * kVf, single);
    }
  for (int v = 0; v < Vectors; v++) vstore(tile.sum + v * kVf, vpspoil(sum[v], nan[v]));
  return moved;
}

// qt[pair][lane] = the pair of q[lane]; lanes behind the last query, and a dimension behind the last, are zero.
ASDM_INLINE void loadPairs(const Bf16* q, int64_t ldq, int64_t rows, int64_t headDim, int64_t width, bool negative, Bf16* qt) {
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

}  // namespace asdm::cpu::ASDM_SET

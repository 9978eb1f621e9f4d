// One query tile against one block of keys in tile registers. Include after pairs.inc.h and gemm/tile_registers.inc.h.
//
// Both products fit the registers as they are: scores [keys][queries] are keys [key][dimension] times the queries' pairs of dimensions as
// loadPairs lays them out, and sums [column][queries] are values [column][key] times the pairs of weights that pairWeights leaves. Of
// 32 keys and 32 queries the products take some 64 cycles for every 32 dimensions, the weights between them several hundred.
#pragma once

namespace asdm::cpu::ASDM_SET {

// Dimensions, or keys, that one product sums over.
constexpr int kDepth = 2 * kSide;
static_assert(kKeyTile == 2 * kSide && kValueTile == kSide && kVf == kSide, "panels are tiles");

template <int I, int Vectors>
ASDM_INLINE void scoreTiles(const Bf16* keys, const Bf16* qt, int64_t steps, float* scores) {
  constexpr int64_t kRow = Vectors * kTileBytes;  // bytes of the queries' pairs, of their scores, their weights and their sums
  zeroSums<I, Vectors>();
  multiplyTiles<PairsOfBf16, I, Vectors>(keys, kTileBytes, kKeyTile * kTileBytes, qt, kRow, kSide * kRow, steps, [](int64_t) {});
  storeSums<I, Vectors>(scores, kRow);
}

template <int I, int Vectors>
ASDM_INLINE void valueTiles(const Bf16* values, int64_t paddedDim, const Bf16* weights, int64_t steps, bool first, float* o) {
  constexpr int64_t kRow = Vectors * kTileBytes;
  if (first) zeroSums<I, Vectors>();
  else loadSums<I, Vectors>(o, kRow);
  multiplyTiles<PairsOfBf16, I, Vectors>(values, kTileBytes, paddedDim * kTileBytes, weights, kRow, kSide * kRow, steps, [](int64_t) {});
  storeSums<I, Vectors>(o, kRow);
}

template <int Vectors>
void tileStep(const QueryTile<Bf16>& tile, const KeyBlock<Bf16>& block, int64_t headDim, float c) {
  constexpr int kWidth = Vectors * kVf;
  const int64_t steps = ceilDiv(headDim, kDepth), paddedDim = ceilDiv(headDim, kValueTile) * kValueTile;
  TileState state;
  state.shape(2 * kSide);
  for (int i = 0; i < block.keys; i += kKeyTile) {
    const Bf16* const keys = block.k + i * steps * kDepth;
    if (block.keys - i > kSide) scoreTiles<2, Vectors>(keys, tile.qt, steps, tile.scores + i * kWidth);
    else scoreTiles<1, Vectors>(keys, tile.qt, steps, tile.scores + i * kWidth);
  }
  if (block.diagonal + block.keys > 1) hideLater<Vectors>(tile.scores, block.keys, block.diagonal);
  float best[kWidth];
  for (int v = 0; v < Vectors; v++) {
    vf top = vset(-std::numeric_limits<float>::infinity());
    for (int i = 0; i < block.keys; i++) top = vmax(top, vload(tile.scores + (i * Vectors + v) * kVf));
    vstore(best + v * kVf, top);
  }
  const bool moved = pairWeights<Vectors>(tile, best, block.keys, c);
  // What is behind the last weights would be multiplied by zeros: it must not be a NaN.
  Bf16* const weights = reinterpret_cast<Bf16*>(tile.scores);
  const int64_t keySteps = ceilDiv(block.keys, kDepth);
  for (int64_t pair = (block.keys + 1) / 2; pair < keySteps * kSide; pair++)
    for (int v = 0; v < Vectors; v++) vpstore(weights + (pair * Vectors + v) * 2 * kVf, vpfrom(vzero()));
  if (moved && !block.first)
    for (int64_t j = 0; j < headDim; j++)
      for (int v = 0; v < Vectors; v++) {
        float* const sum = tile.o + (j * Vectors + v) * kVf;
        vstore(sum, vmul(vload(sum), vload(tile.alpha + v * kVf)));
      }
  for (int64_t j = 0; j < headDim; j += 2 * kSide) {
    if (headDim - j > kSide) valueTiles<2, Vectors>(block.v + j * kDepth, paddedDim, weights, keySteps, block.first, tile.o + j * kWidth);
    else valueTiles<1, Vectors>(block.v + j * kDepth, paddedDim, weights, keySteps, block.first, tile.o + j * kWidth);
  }
}

struct TileProducts {
  using Element = Bf16;
  using Packed = Bf16;
  static constexpr int kPair = kDepth;
  static constexpr int kBlock = 128;  // keys; a block's scores are 16 KB

  // Keys in panels [kKeyTile keys][step][key][kDepth], zeros behind the last key and dimension; values in blocks [kBlock keys]
  // [step of keys][column][kDepth], zeros behind the last key and right of the last column.
  static ASDM_INLINE void pack(const AttentionArgs& a, const Bf16* k, const Bf16* v, int64_t first, int64_t count, Bf16* kOut, Bf16* vOut,
                               int64_t paddedDim) {
    const int64_t steps = ceilDiv(a.headDim, kDepth);
    for (int64_t key = 0; key < ceilDiv(count, kKeyTile) * kKeyTile; key++) {
      Bf16* const panel = kOut + (first + key) / kKeyTile * kKeyTile * steps * kDepth + (first + key) % kKeyTile * kDepth;
      for (int64_t step = 0; step < steps; step++)
        vpstore(panel + step * kKeyTile * kDepth,
                key < count ? vploadn(k + (first + key) * a.ldk + step * kDepth, a.headDim - step * kDepth) : vpfrom(vzero()));
    }
    for (int64_t block = 0; block < count; block += kBlock) {
      const int64_t keys = smaller(kBlock, count - block);
      Bf16* const out = vOut + (first + block) * paddedDim;
      for (int64_t key = 0; key < keys; key += kDepth)
        for (int64_t j = 0; j < paddedDim; j += kVf) {
          vf rows[kVf];
          for (int i = 0; i < kVf; i++) {
            const int64_t even = key + 2 * i;
            const Bf16* const from = v + (first + block + even) * a.ldv + j;
            rows[i] = even < keys ? vpbits(vpjoin(from, even + 1 < keys ? from + a.ldv : nullptr, a.headDim - j)) : vzero();
          }
          vtranspose(rows);
          for (int i = 0; i < kVf; i++) vpstore(out + key * paddedDim + (j + i) * kDepth, vpfrom(rows[i]));
        }
    }
  }

  static ASDM_INLINE void load(const Bf16* q, int64_t ldq, int64_t rows, int64_t headDim, int64_t width, bool negative, Bf16* qt) {
    loadPairs(q, ldq, rows, headDim, width, negative, qt);
    for (int64_t at = ceilDiv(headDim, 2) * width; at < ceilDiv(headDim, kDepth) * kSide * width; at += kVf)
      vpstore(qt + 2 * at, vpfrom(vzero()));
  }

  template <int Vectors>
  static ASDM_INLINE void step(const QueryTile<Bf16>& tile, const KeyBlock<Bf16>& block, int64_t headDim, float c) {
    tileStep<Vectors>(tile, block, headDim, c);
  }
};

template <class E>
using ProductsOf = TileProducts;

}  // namespace asdm::cpu::ASDM_SET

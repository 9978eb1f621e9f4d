// o = softmax(scale * q k^T) v, online (Milakov & Gimelshein 2018; Dao et al., FlashAttention, 2022): a block of queries walks over the
// keys, keeping each row's largest score, the sum of its weights, and the values' sum, which are scaled down when the largest grows.
#pragma once

#include "cuda/kernels/numbers.h"

namespace asdm::cuda {

template <class E>
struct AttentionParams {
  const E *q, *k, *v;
  int64_t ldq, ldk, ldv, ldo;
  int heads, qLength, kLength, headDim;
  float scale;
  bool causal;
  E* o;
  bool whole;  // quads of o may be moved at once
};

constexpr float kMinusInfinity = -__builtin_huge_valf();

// On the tensor cores, for bfloat16 and heads up to kDim (a multiple of 16): four warps, 16 queries each. Keys and values come by
// cp.async, a block ahead. Rows in shared memory are an odd number of 16-byte chunks apart, so that ldmatrix meets no bank twice.
// Weights are rounded to bfloat16 for the product with the values; their sum is of the unrounded ones. kVector: rows are aligned to 16
// bytes and headDim is a multiple of 8.
template <int kDim, bool kVector>
struct AttentionMma {
  using Params = AttentionParams<Bf16>;
  static constexpr const char* kName = kDim <= 48    ? "attention_48"
                                       : kDim <= 64  ? "attention_64"
                                       : kDim <= 80  ? "attention_80"
                                       : kDim <= 128 ? "attention_128"
                                                     : "attention_160";
  static constexpr int kThreads = 128, kBlocks = kDim <= 64 ? 3 : 2;
  static constexpr int kQueries = 64, kKeys = kDim <= 96 ? 64 : 32;
  static constexpr uint32_t kLd = kDim * 2 + 16, kQueryBytes = kQueries * kLd, kKeyBytes = kKeys * kLd;
  static constexpr uint32_t kSharedBytes = kQueryBytes + 4 * kKeyBytes;
  static constexpr int kSteps = kDim / 16, kKeyTiles = kKeys / 8, kDimTiles = kDim / 8;

  // Rows first.. of a matrix into shared memory; zeros beyond the last, and beyond headDim.
  template <int kRows>
  static ASDM_DEVICE void fetch(const Bf16* from, int64_t ld, int first, int length, int headDim, uint32_t at) {
    constexpr int kChunks = kDim / 8;
    for (int i = thread(); i < kRows * kChunks; i += kThreads) {
      const int row = i / kChunks, column = (i - row * kChunks) * 8;
      const bool valid = first + row < length && column < headDim;
      const Bf16* const source = from + (valid ? (first + row) * ld + column : 0);
      const uint32_t to = at + static_cast<uint32_t>(row) * kLd + static_cast<uint32_t>(column) * 2;
      if constexpr (kVector) {
        copyAsync(to, source, valid);
      } else {
        Words4 words{{0, 0, 0, 0}};
        if (valid) {
          ASDM_UNROLL
          for (int j = 0; j < 8; j++)
            if (column + j < headDim) words.w[j / 2] |= static_cast<uint32_t>(load(source + j).bits) << (16 * (j % 2));
        }
        sharedStore(to, words);
      }
    }
  }

  static ASDM_DEVICE void run(const Params& p) {
    const int firstQuery = block().x * kQueries, head = block().y, sample = block().z;
    const int64_t column = static_cast<int64_t>(head) * p.headDim;
    const Bf16* const q = p.q + static_cast<int64_t>(sample) * p.qLength * p.ldq + column;
    const Bf16* const k = p.k + static_cast<int64_t>(sample) * p.kLength * p.ldk + column;
    const Bf16* const v = p.v + static_cast<int64_t>(sample) * p.kLength * p.ldv + column;
    const int end = p.causal && firstQuery + kQueries < p.kLength ? firstQuery + kQueries : p.kLength;
    const int rowLow = firstQuery + warp() * 16 + lane() / 4;  // this thread's rows: rowLow and rowLow + 8

    fetch<kQueries>(q, p.ldq, firstQuery, p.qLength, p.headDim, 0);
    fetch<kKeys>(k, p.ldk, 0, p.kLength, p.headDim, kQueryBytes);
    fetch<kKeys>(v, p.ldv, 0, p.kLength, p.headDim, kQueryBytes + kKeyBytes);
    copyCommit();

    uint32_t query[kSteps][4];
    float sums[kDimTiles][4], most[2] = {kMinusInfinity, kMinusInfinity}, total[2] = {0, 0};
    ASDM_UNROLL
    for (int j = 0; j < kDimTiles; j++) ASDM_UNROLL
    for (int r = 0; r < 4; r++) sums[j][r] = 0;

    int stage = 0;
    for (int first = 0; first < end; first += kKeys) {
      const uint32_t keys = kQueryBytes + static_cast<uint32_t>(stage) * 2 * kKeyBytes, values = keys + kKeyBytes;
      copyWait<0>();
      barrier();  // these keys are there, and those before are done with
      if (first + kKeys < end) {
        const uint32_t next = kQueryBytes + static_cast<uint32_t>(1 - stage) * 2 * kKeyBytes;
        fetch<kKeys>(k, p.ldk, first + kKeys, p.kLength, p.headDim, next);
        fetch<kKeys>(v, p.ldv, first + kKeys, p.kLength, p.headDim, next + kKeyBytes);
      }
      copyCommit();
      if (first == 0) {
        ASDM_UNROLL
        for (int s = 0; s < kSteps; s++)
          loadMatrix(query[s], static_cast<uint32_t>(warp() * 16 + lane() % 16) * kLd + static_cast<uint32_t>(2 * s + lane() / 16) * 16);
      }

      float scores[kKeyTiles][4];
      ASDM_UNROLL
      for (int j = 0; j < kKeyTiles; j += 2) {
        ASDM_UNROLL
        for (int r = 0; r < 4; r++) scores[j][r] = scores[j + 1][r] = 0;
        ASDM_UNROLL
        for (int s = 0; s < kSteps; s++) {
          uint32_t r[4];
          loadMatrix(r, keys + static_cast<uint32_t>(8 * j + lane() / 16 * 8 + lane() % 8) * kLd +
                            static_cast<uint32_t>(2 * s + lane() / 8 % 2) * 16);
          mma(scores[j], query[s], r[0], r[1]);
          mma(scores[j + 1], query[s], r[2], r[3]);
        }
      }

      float largest[2] = {most[0], most[1]};
      const bool edge = first + kKeys > p.kLength || p.causal;
      ASDM_UNROLL
      for (int j = 0; j < kKeyTiles; j++) ASDM_UNROLL
      for (int r = 0; r < 4; r++) {
        float score = scores[j][r] * p.scale;
        const int key = first + 8 * j + lane() % 4 * 2 + r % 2;
        if (edge && (key >= p.kLength || (p.causal && key > rowLow + r / 2 * 8))) score = kMinusInfinity;
        scores[j][r] = score;
        largest[r / 2] = score > largest[r / 2] ? score : largest[r / 2];
      }
      float shrink[2];
      ASDM_UNROLL
      for (int h = 0; h < 2; h++) {
        ASDM_UNROLL
        for (int mask = 1; mask < 4; mask *= 2) {
          const float other = shuffleXor(largest[h], mask);
          largest[h] = other > largest[h] ? other : largest[h];
        }
        shrink[h] = most[h] == kMinusInfinity ? 0.0f : exponential(most[h] - largest[h]);
        most[h] = largest[h];
        total[h] *= shrink[h];
      }
      ASDM_UNROLL
      for (int j = 0; j < kKeyTiles; j++) ASDM_UNROLL
      for (int r = 0; r < 4; r++) {
        scores[j][r] = exponential(scores[j][r] - most[r / 2]);
        total[r / 2] += scores[j][r];
      }
      ASDM_UNROLL
      for (int j = 0; j < kDimTiles; j++) ASDM_UNROLL
      for (int r = 0; r < 4; r++) sums[j][r] *= shrink[r / 2];

      ASDM_UNROLL
      for (int s = 0; s < kKeys / 16; s++) {
        const uint32_t weights[4] = {packedPair(scores[2 * s][0], scores[2 * s][1]), packedPair(scores[2 * s][2], scores[2 * s][3]),
                                     packedPair(scores[2 * s + 1][0], scores[2 * s + 1][1]),
                                     packedPair(scores[2 * s + 1][2], scores[2 * s + 1][3])};
        ASDM_UNROLL
        for (int j = 0; j < kDimTiles; j += 2) {
          uint32_t r[4];
          loadMatrixTransposed(r, values + static_cast<uint32_t>(16 * s + lane() % 16) * kLd + static_cast<uint32_t>(j + lane() / 16) * 16);
          mma(sums[j], weights, r[0], r[1]);
          mma(sums[j + 1], weights, r[2], r[3]);
        }
      }
      stage = 1 - stage;
    }

    copyWait<0>();
    ASDM_UNROLL
    for (int h = 0; h < 2; h++) {
      ASDM_UNROLL
      for (int mask = 1; mask < 4; mask *= 2) total[h] += shuffleXor(total[h], mask);
    }
    // Through the warp's own queries' place, so that whole lines are stored.
    warpSync();
    const uint32_t mine = static_cast<uint32_t>(warp() * 16) * kLd;
    ASDM_UNROLL
    for (int j = 0; j < kDimTiles; j++) ASDM_UNROLL
    for (int h = 0; h < 2; h++)
      sharedStore(mine + static_cast<uint32_t>(lane() / 4 + 8 * h) * kLd + static_cast<uint32_t>(8 * j + lane() % 4 * 2) * 2,
                  packedPair(sums[j][2 * h] / total[h], sums[j][2 * h + 1] / total[h]));
    warpSync();
    Bf16* const o = p.o + static_cast<int64_t>(sample) * p.qLength * p.ldo + column;
    const int quads = (p.headDim + 3) / 4;
    for (int i = lane(); i < 16 * quads; i += 32) {
      const int row = i / quads, at = (i - row * quads) * 4, query_ = firstQuery + warp() * 16 + row;
      if (query_ >= p.qLength) break;
      const Words2 words = sharedLoad<Words2>(mine + static_cast<uint32_t>(row) * kLd + static_cast<uint32_t>(at) * 2);
      Bf16* const to = o + query_ * p.ldo + at;
      if (p.whole) {
        store(reinterpret_cast<Words2*>(to), words);
      } else {
        ASDM_UNROLL
        for (int j = 0; j < 4; j++)
          if (at + j < p.headDim) store(to + j, Bf16{static_cast<uint16_t>(words.w[j / 2] >> (16 * (j % 2)))});
      }
    }
  }
};

// Without tensor cores, for any format and heads up to 32 * kPer wide: a warp for each query, eight of which share their keys; a lane
// scores one key of 32, and sums kPer columns of the values.
template <class E, int kPer>
struct AttentionSimt {
  using Params = AttentionParams<E>;
  static constexpr const char* kName = "attention_simt";
  static constexpr int kThreads = 256, kBlocks = kPer > 8 ? 1 : 2, kWarps = kThreads / 32;
  static constexpr int kColumns = 64;  // of the keys at a time
  static constexpr uint32_t kQueryLd = kPer * 32, kKeyLd = kColumns + 1;
  static constexpr uint32_t kKeysAt = kWarps * kQueryLd * 4, kSharedBytes = kKeysAt + 32 * kKeyLd * 4;

  static ASDM_DEVICE void run(const Params& p) {
    const int firstQuery = block().x * kWarps, head = block().y, sample = block().z;
    const int query = firstQuery + warp();
    const int64_t column = static_cast<int64_t>(head) * p.headDim;
    const E* const k = p.k + static_cast<int64_t>(sample) * p.kLength * p.ldk + column;
    const E* const v = p.v + static_cast<int64_t>(sample) * p.kLength * p.ldv + column;
    const int lastQuery = firstQuery + kWarps < p.qLength ? firstQuery + kWarps : p.qLength;
    const int end = p.causal && lastQuery < p.kLength ? lastQuery : p.kLength;
    const int keysSeen = p.causal && query < p.kLength ? query + 1 : p.kLength;

    const uint32_t mine = static_cast<uint32_t>(warp()) * kQueryLd * 4;
    const E* const q = p.q + (static_cast<int64_t>(sample) * p.qLength + (query < p.qLength ? query : 0)) * p.ldq + column;
    for (int d = lane(); d < p.headDim; d += 32) sharedStore(mine + static_cast<uint32_t>(d) * 4, asFloat(load(q + d)));

    float sums[kPer], most = kMinusInfinity, total = 0;
    ASDM_UNROLL
    for (int i = 0; i < kPer; i++) sums[i] = 0;
    for (int first = 0; first < end; first += 32) {
      float score = 0;
      for (int at = 0; at < p.headDim; at += kColumns) {
        const int width = p.headDim - at < kColumns ? p.headDim - at : kColumns;
        barrier();
        for (int i = thread(); i < 32 * kColumns; i += kThreads) {
          const int row = i / kColumns, d = i % kColumns;
          const bool valid = first + row < p.kLength && d < width;
          sharedStore(kKeysAt + (static_cast<uint32_t>(row) * kKeyLd + static_cast<uint32_t>(d)) * 4,
                      valid ? asFloat(load(k + (first + row) * p.ldk + at + d)) : 0.0f);
        }
        barrier();
        for (int d = 0; d < width; d++)
          score = fmaf(sharedLoad<float>(mine + static_cast<uint32_t>(at + d) * 4),
                       sharedLoad<float>(kKeysAt + (static_cast<uint32_t>(lane()) * kKeyLd + static_cast<uint32_t>(d)) * 4), score);
      }
      score = first + lane() < keysSeen ? score * p.scale : kMinusInfinity;
      float largest = score > most ? score : most;
      ASDM_UNROLL
      for (int mask = 16; mask > 0; mask /= 2) {
        const float other = shuffleXor(largest, mask);
        largest = other > largest ? other : largest;
      }
      const float shrink = most == kMinusInfinity ? 0.0f : exponential(most - largest);
      most = largest;
      const float weight = exponential(score - most);
      total = total * shrink + weight;
      ASDM_UNROLL
      for (int i = 0; i < kPer; i++) sums[i] *= shrink;
      for (int j = 0; j < 32 && first + j < end; j++) {
        const float each = shuffle(weight, j);
        if (first + j >= keysSeen) continue;
        ASDM_UNROLL
        for (int i = 0; i < kPer; i++) {
          const int d = lane() + 32 * i;
          if (d < p.headDim) sums[i] = fmaf(each, asFloat(load(v + (first + j) * p.ldv + d)), sums[i]);
        }
      }
    }
    ASDM_UNROLL
    for (int mask = 16; mask > 0; mask /= 2) total += shuffleXor(total, mask);
    if (query >= p.qLength) return;
    E* const o = p.o + (static_cast<int64_t>(sample) * p.qLength + query) * p.ldo + column;
    ASDM_UNROLL
    for (int i = 0; i < kPer; i++) {
      const int d = lane() + 32 * i;
      if (d < p.headDim) store(o + d, Rounded<E>::of(sums[i] / total));
    }
  }
};

}  // namespace asdm::cuda

// bfloat16 activations as bytes, x = scale * (u - zero), by the rules of cpu/int8/int8.h: a range for each row of a linear layer, or for
// each sample of a convolution, from min(x, 0) to max(x, 0). Same bits as there.
#pragma once

#include "cuda/kernels/epilogue.h"

namespace asdm::cuda {

struct QuantizeParams {
  const Bf16* x;
  int64_t groups;          // rows, or samples
  int64_t width, ldx;      // numbers of a group, and their distance to the next group's
  int64_t runs;            // pieces of a group that are ranged by themselves
  int32_t* ranges;         // [groups][runs][2], ordered as integers
  Quant* quants;           // [groups]
  unsigned char* bytes;    // [groups][ldb]
  int64_t ldb;
};

// The order of bfloat16 numbers as one of integers: negative numbers' lower bits turned.
ASDM_DEVICE int32_t orderedOf(Bf16 x) {
  const int32_t bits = static_cast<int16_t>(x.bits);
  return bits ^ ((bits >> 15) & 0x7fff);
}
ASDM_DEVICE float rangeEnd(int32_t ordered) {
  const uint32_t bits = static_cast<uint32_t>(ordered ^ ((ordered >> 15) & 0x7fff)) & 0xffffu;
  return bitsAs<float>(bits << 16);
}

ASDM_DEVICE Quant quantOf(int32_t low, int32_t high) {
  // Infinity is 0x7f80, minus infinity 0xff80, and NaNs lie beyond them.
  constexpr int32_t kInfinity = 0x7f80, kMinusInfinity = static_cast<int16_t>(0xff80 ^ 0x7fff);
  if (high >= kInfinity || low <= kMinusInfinity) return {bitsAs<float>(0x7fc00000u), 0.0f, 0};
  const float from = rangeEnd(low), to = rangeEnd(high);
  const float scale = to * (1.0f / 255.0f) - from * (1.0f / 255.0f);
  if (!(scale > 1e-30f)) return {0.0f, 0.0f, 0};
  const float inverse = 1.0f / scale;
  const int32_t zero = static_cast<int32_t>(0.5f - from * inverse);
  return {scale, inverse, zero > 255 ? 255 : zero};
}

ASDM_DEVICE uint32_t codeOf(Bf16 x, const Quant& q) {
  if (q.inverse == 0.0f) return 0;
  const float u = rintf(asFloat(x) * q.inverse + static_cast<float>(q.zero));
  return u > 255.0f ? 255u : u > 0.0f ? static_cast<uint32_t>(u) : 0u;
}

// Ranges of a group's runs: a warp each.
struct QuantizeRanges {
  using Params = QuantizeParams;
  static constexpr const char* kName = "quantize_ranges";
  static constexpr int kThreads = 256, kBlocks = 4;
  static ASDM_DEVICE void run(const Params& p) {
    const int64_t task = static_cast<int64_t>(block().x) * (kThreads / 32) + warp();
    if (task >= p.groups * p.runs) return;
    const int64_t group = task / p.runs, run = task - group * p.runs;
    const int64_t each = ceilDiv(p.width, p.runs), end = smaller(p.width, (run + 1) * each);
    int32_t low = 0, high = 0;
    for (int64_t i = run * each + lane(); i < end; i += 32) {
      const int32_t value = orderedOf(load(p.x + group * p.ldx + i));
      low = value < low ? value : low;
      high = value > high ? value : high;
    }
    ASDM_UNROLL
    for (int mask = 16; mask > 0; mask /= 2) {
      const int32_t otherLow = shuffleXor(low, mask), otherHigh = shuffleXor(high, mask);
      low = otherLow < low ? otherLow : low;
      high = otherHigh > high ? otherHigh : high;
    }
    if (lane() == 0) {
      store(p.ranges + task * 2, low);
      store(p.ranges + task * 2 + 1, high);
    }
  }
};

// The groups' quants from their runs' ranges: a thread each.
struct QuantizeGroups {
  using Params = QuantizeParams;
  static constexpr const char* kName = "quantize_groups";
  static constexpr int kThreads = 128, kBlocks = 4;
  static ASDM_DEVICE void run(const Params& p) {
    const int64_t group = static_cast<int64_t>(block().x) * kThreads + thread();
    if (group >= p.groups) return;
    int32_t low = 0, high = 0;
    for (int64_t i = 0; i < p.runs; i++) {
      const int32_t otherLow = load(p.ranges + (group * p.runs + i) * 2), otherHigh = load(p.ranges + (group * p.runs + i) * 2 + 1);
      low = otherLow < low ? otherLow : low;
      high = otherHigh > high ? otherHigh : high;
    }
    const Quant q = quantOf(low, high);
    store(&p.quants[group].scale, q.scale);
    store(&p.quants[group].inverse, q.inverse);
    store(&p.quants[group].zero, q.zero);
  }
};

// The bytes, four a thread, zeros up to ldb, which is a multiple of 4.
struct QuantizeBytes {
  using Params = QuantizeParams;
  static constexpr const char* kName = "quantize_bytes";
  static constexpr int kThreads = 256, kBlocks = 4;
  static ASDM_DEVICE void run(const Params& p) {
    const int64_t words = p.ldb / 4, at = static_cast<int64_t>(block().x) * kThreads + thread();
    if (at >= p.groups * words) return;
    const int64_t group = quotient(at, words), first = (at - group * words) * 4;
    const Quant* const from = p.quants + group;
    const Quant q{load(&from->scale), load(&from->inverse), load(&from->zero)};
    const Bf16* const x = p.x + group * p.ldx + first;
    uint32_t word = 0;
    ASDM_UNROLL
    for (int i = 0; i < 4; i++)
      if (first + i < p.width) word |= codeOf(load(x + i), q) << (8 * i);
    store(reinterpret_cast<uint32_t*>(p.bytes + group * p.ldb + first), word);
  }
};

}  // namespace asdm::cuda

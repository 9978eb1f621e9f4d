// y = left . weight^T without tensor cores: floats, whatever the weights and activations are stored as, and bytes four at a time
// (dp4a). For float activations, float weights (WeightFormat::F32) and cards before sm_80.
//
// A block computes 64x64 sums, a thread 4x4 of them; steps of 64 bytes of the weights' k lie k first in shared memory, two deep. Order
// of sums and layout of weights as in product_mma.h, but one fused multiply-add after the other.
#pragma once

#include "cuda/kernels/product_mma.h"

namespace asdm::cuda {

// Sums of floats: activations E, weights W.
template <class E, class W>
struct FloatNumbers {
  using Sum = float;
  using Word = float;
  using Activation = E;
  static constexpr int kWords = 16;        // of a step
  static constexpr int kPerWord = 1;       // numbers of a word
  static constexpr int kSegmentSteps = 80;  // 1280 numbers
  static ASDM_DEVICE float multiply(float a, float b, float c) { return fmaf(a, b, c); }
  // Four words of the left side from a number on; `whole`: they lie side by side.
  static ASDM_DEVICE void left(const Left& l, int64_t at, bool whole, int count, float (&v)[4]) {
    loadFour(reinterpret_cast<const E*>(l.x) + at, whole, count, v);
    if (l.xLow == nullptr) return;
    float low[4];
    loadFour(reinterpret_cast<const E*>(l.xLow) + at, whole, count, low);
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) v[i] += low[i];
  }
  static ASDM_DEVICE void right(const unsigned char* row, int word, float (&v)[4]) {
    loadFour(reinterpret_cast<const W*>(row) + word, true, 4, v);
  }
};

template <class E, class W, bool kMixed>
struct ProductFloat {
  using Numbers = FloatNumbers<E, W>;
  using Params = ProductParams<E, float>;
  static constexpr const char* kName = kMixed ? "product_floats_mixed" : "product_floats";
  static constexpr int kThreads = 256, kBlocks = 2, kTile = 64, kStep = 16;
  static constexpr uint32_t kLd = kTile + 4, kSideBytes = kStep * kLd * 4, kBufferBytes = 2 * kSideBytes;
  static constexpr uint32_t kSumsLd = kTile + 4, kSumsBytes = kTile * kSumsLd * 4;
  static constexpr uint32_t kSharedBytes = 2 * kBufferBytes > kSumsBytes ? 2 * kBufferBytes : kSumsBytes;
  static constexpr int kSegment = Numbers::kSegmentSteps;

  static ASDM_DEVICE void fetchLeft(const Params& p, const LeftRow& row, bool whole, int k, float (&v)[4]) {
    const int c = p.left.channels;
    int tap = k / c, channel = k - tap * c;
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) v[i] = 0;
    int64_t pixel = leftPixel(p.left, row, tap);
    if (whole || channel + 4 <= c) {
      if (pixel >= 0) Numbers::left(p.left, pixel + channel, whole, 4, v);
      return;
    }
    for (int i = 0; i < 4; i++) {
      if (pixel >= 0) {
        float one[4];
        Numbers::left(p.left, pixel + channel, false, 1, one);
        ASDM_UNROLL
        for (int j = 0; j < 4; j++)
          if (j == i) v[j] = one[0];
      }
      if (++channel == c) {
        channel = 0;
        pixel = leftPixel(p.left, row, ++tap);
      }
    }
  }

  static ASDM_DEVICE void fetchRight(const Params& p, const unsigned char* row, int k, float (&v)[4]) {
    if constexpr (!kMixed) {
      Numbers::right(row, k, v);
    } else {
      bool begun = false;
      ASDM_UNROLL
      for (int i = 0; i < 4; i++) v[i] = 0;
      for (int expert = 0; expert < p.experts; expert++) {
        const float rate = load(p.rates + static_cast<int64_t>(block().z) * p.experts + expert);
        if (rate == 0.0f) continue;
        float more[4];
        Numbers::right(row + expert * p.expertBytes, k, more);
        ASDM_UNROLL
        for (int i = 0; i < 4; i++) v[i] = begun ? fmaf(rate, more[i], v[i]) : rate * more[i];
        begun = true;
      }
      ASDM_UNROLL
      for (int i = 0; i < 4; i++) v[i] = asFloat(Rounded<W>::of(v[i]));
    }
  }

  static ASDM_DEVICE void keep(uint32_t side, int row, int quad, const float (&v)[4]) {
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) sharedStore(side + (static_cast<uint32_t>(quad * 4 + i) * kLd + static_cast<uint32_t>(row)) * 4, v[i]);
  }

  static ASDM_DEVICE void run(const Params& p) {
    const int rowTile = block().x % p.rowTiles, tile = block().x / p.rowTiles, segment = block().y;
    const int64_t sampleRow = block().z * p.blockRows, firstRow = sampleRow + static_cast<int64_t>(rowTile) * kTile;
    const int64_t endRow = smaller(sampleRow + p.blockRows, p.left.rows);
    const int first = segment * kSegment, end = p.splits > 1 ? static_cast<int>(smaller(first + kSegment, p.steps)) : p.steps;
    // Loads: four neighbours in k of one row of each side.
    const int loadRow = thread() / 4, quad = thread() % 4;
    const LeftRow left = leftRow(p.left, firstRow + loadRow < endRow ? firstRow + loadRow : p.left.rows);
    const int64_t feature = featureOf(p.e, kTile, tile, loadRow);
    const bool rightValid = feature < p.e.n;
    const unsigned char* const right = p.weight + (rightValid ? feature : 0) * p.rowBytes;
    const bool whole = p.left.channels % 4 == 0 && quadsFitDevice(p.left);
    // Sums: rows 4 * (thread / 16) on, columns 4 * (thread % 16) on.
    const int down = thread() / 16 * 4, across = thread() % 16 * 4;

    float sums[4][4], total[4][4], a[4], b[4];
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) ASDM_UNROLL
    for (int j = 0; j < 4; j++) sums[i][j] = total[i][j] = 0;
    const auto fetch = [&](int step) {
      fetchLeft(p, left, whole, step * kStep + quad * 4, a);
      ASDM_UNROLL
      for (int i = 0; i < 4; i++) b[i] = 0;
      if (rightValid) fetchRight(p, right, step * kStep + quad * 4, b);
    };
    fetch(first);
    for (int step = first; step < end; step++) {
      const uint32_t buffer = (step & 1) != 0 ? kBufferBytes : 0;
      keep(buffer, loadRow, quad, a);
      keep(buffer + kSideBytes, loadRow, quad, b);
      barrier();
      if (step + 1 < end) fetch(step + 1);
      if (step != first && step % kSegment == 0) {
        ASDM_UNROLL
        for (int i = 0; i < 4; i++) ASDM_UNROLL
        for (int j = 0; j < 4; j++) {
          total[i][j] = step == first + kSegment ? sums[i][j] : total[i][j] + sums[i][j];
          sums[i][j] = 0;
        }
      }
      ASDM_UNROLL
      for (int k = 0; k < kStep; k++) {
        const uint32_t line = buffer + static_cast<uint32_t>(k) * kLd * 4;
        const Words4 x = sharedLoad<Words4>(line + static_cast<uint32_t>(down) * 4);
        const Words4 w = sharedLoad<Words4>(line + kSideBytes + static_cast<uint32_t>(across) * 4);
        ASDM_UNROLL
        for (int i = 0; i < 4; i++) ASDM_UNROLL
        for (int j = 0; j < 4; j++) sums[i][j] = fmaf(bitsAs<float>(x.w[i]), bitsAs<float>(w.w[j]), sums[i][j]);
      }
    }
    barrier();
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) {
      Words4 words;
      ASDM_UNROLL
      for (int j = 0; j < 4; j++) words.w[j] = bitsAs<uint32_t>(end - first > kSegment ? total[i][j] + sums[i][j] : sums[i][j]);
      sharedStore((static_cast<uint32_t>(down + i) * kSumsLd + static_cast<uint32_t>(across)) * 4, words);
    }
    barrier();
    finishTile<kTile, kTile, kThreads>(p, firstRow, endRow, tile, segment, kSumsLd);
  }

  static ASDM_DEVICE bool quadsFitDevice(const Left& l) {
    const auto fits = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % Quad<E>::kBytes == 0; };
    return l.pixelStride % 4 == 0 && fits(l.x) && (l.xLow == nullptr || fits(l.xLow));
  }
};

// Bytes, four to a word.
template <bool kVector>
struct ProductBytes {
  using Params = ProductParams<Bf16, int32_t>;
  static constexpr const char* kName = "product_bytes_dot";
  static constexpr int kThreads = 256, kBlocks = 2, kTile = 64, kWords = 16, kStep = 64;
  static constexpr uint32_t kLd = kTile + 4, kSideBytes = kWords * kLd * 4, kBufferBytes = 2 * kSideBytes;
  static constexpr uint32_t kSumsLd = kTile + 4, kSumsBytes = kTile * kSumsLd * 4;
  static constexpr uint32_t kSharedBytes = 2 * kBufferBytes > kSumsBytes ? 2 * kBufferBytes : kSumsBytes;

  static ASDM_DEVICE Words4 fetchLeft(const Params& p, const LeftRow& row, uint32_t zero, int k) {
    const int c = p.left.channels;
    int tap = k / c, channel = k - tap * c;
    int64_t pixel = leftPixel(p.left, row, tap);
    if constexpr (kVector)
      return pixel >= 0 ? load(reinterpret_cast<const Words4*>(p.left.x + pixel + channel)) : Words4{{zero, zero, zero, zero}};
    Words4 words{{0, 0, 0, 0}};
    for (int i = 0; i < 16; i++) {
      const uint32_t bits = pixel >= 0 ? load(p.left.x + pixel + channel) : zero & 0xff;
      ASDM_UNROLL
      for (int w = 0; w < 4; w++)
        if (w == i / 4) words.w[w] |= bits << (8 * (i % 4));
      if (++channel == c) {
        channel = 0;
        pixel = leftPixel(p.left, row, ++tap);
      }
    }
    return words;
  }

  static ASDM_DEVICE void keep(uint32_t side, int row, int quad, const Words4& v) {
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) sharedStore(side + (static_cast<uint32_t>(quad * 4 + i) * kLd + static_cast<uint32_t>(row)) * 4, v.w[i]);
  }

  static ASDM_DEVICE void run(const Params& p) {
    const int rowTile = block().x % p.rowTiles, tile = block().x / p.rowTiles, segment = block().y;
    const int64_t firstRow = static_cast<int64_t>(rowTile) * kTile, endRow = p.left.rows;
    const int first = segment * kSegmentSteps, end = p.splits > 1 ? static_cast<int>(smaller(first + kSegmentSteps, p.steps)) : p.steps;
    const int loadRow = thread() / 4, quad = thread() % 4;
    const int64_t row = firstRow + loadRow;
    const LeftRow left = leftRow(p.left, row);
    const uint32_t zero =
        left.valid && !p.e.quantPerRow ? static_cast<uint32_t>(load(&p.e.quants[row / p.e.sampleRows].zero)) * 0x01010101u : 0;
    const int64_t feature = featureOf(p.e, kTile, tile, loadRow);
    const unsigned char* const right = p.weight + (feature < p.e.n ? feature : 0) * p.rowBytes;
    const int down = thread() / 16 * 4, across = thread() % 16 * 4;
    int32_t sums[4][4];
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) ASDM_UNROLL
    for (int j = 0; j < 4; j++) sums[i][j] = 0;
    for (int step = first; step < end; step++) {
      const uint32_t buffer = (step & 1) != 0 ? kBufferBytes : 0;
      keep(buffer, loadRow, quad, fetchLeft(p, left, zero, step * kStep + quad * 16));
      keep(buffer + kSideBytes, loadRow, quad,
           feature < p.e.n ? load(reinterpret_cast<const Words4*>(right + step * kStep + quad * 16)) : Words4{{0, 0, 0, 0}});
      barrier();
      ASDM_UNROLL
      for (int k = 0; k < kWords; k++) {
        const uint32_t line = buffer + static_cast<uint32_t>(k) * kLd * 4;
        const Words4 x = sharedLoad<Words4>(line + static_cast<uint32_t>(down) * 4);
        const Words4 w = sharedLoad<Words4>(line + kSideBytes + static_cast<uint32_t>(across) * 4);
        ASDM_UNROLL
        for (int i = 0; i < 4; i++) ASDM_UNROLL
        for (int j = 0; j < 4; j++) sums[i][j] = dotBytes(x.w[i], w.w[j], sums[i][j]);
      }
    }
    barrier();
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) {
      Words4 words;
      ASDM_UNROLL
      for (int j = 0; j < 4; j++) words.w[j] = static_cast<uint32_t>(sums[i][j]);
      sharedStore((static_cast<uint32_t>(down + i) * kSumsLd + static_cast<uint32_t>(across)) * 4, words);
    }
    barrier();
    finishTile<kTile, kTile, kThreads>(p, firstRow, endRow, tile, segment, kSumsLd);
  }
};

// Adds the segments' sums in their order, and finishes them. A thread takes four neighbours of a row.
template <class E, class Sum>
struct ReduceSegments {
  using Params = ProductParams<E, Sum>;
  static constexpr const char* kName = "reduce_segments";
  static constexpr int kThreads = 256, kBlocks = 4;

  static ASDM_DEVICE void run(const Params& p) {
    const int64_t width = p.e.gated ? p.e.n / 2 : p.e.n, quads = ceilDiv(width, 4);
    const int64_t at = static_cast<int64_t>(block().x) * kThreads + thread();
    if (at >= p.left.rows * quads) return;
    const int64_t row = quotient(at, quads), column = (at - row * quads) * 4;
    Sum sums[4], gates[4];
    add(p, row, column, sums);
    if (p.e.gated) add(p, row, column + width, gates);
    finishFour(p.e, row, column, static_cast<int>(smaller(4, width - column)), sums, gates);
  }
  static ASDM_DEVICE void add(const Params& p, int64_t row, int64_t column, Sum (&v)[4]) {
    for (int s = 0; s < p.splits; s++) {
      const Words4 words = load(reinterpret_cast<const Words4*>(p.partial + (s * p.left.rows + row) * p.partialWidth + column));
      ASDM_UNROLL
      for (int i = 0; i < 4; i++) v[i] = s == 0 ? bitsAs<Sum>(words.w[i]) : v[i] + bitsAs<Sum>(words.w[i]);
    }
  }
};

}  // namespace asdm::cuda

// Group norm with SiLU, and layer norm; contracts in backend/arguments.h.
#pragma once

#include "cuda/kernels/numbers.h"

namespace asdm::cuda {

// Count, mean and sum of squared deviations of some numbers, in double: sums of millions of squares, and means far above the deviation.
struct Moments {
  double count, mean, squares;
};

// Both together (Chan, Golub & LeVeque 1979).
ASDM_DEVICE Moments merged(const Moments& a, const Moments& b) {
  if (b.count == 0) return a;
  if (a.count == 0) return b;
  const double count = a.count + b.count, delta = b.mean - a.mean, part = b.count / count;
  return {count, a.mean + delta * part, a.squares + b.squares + delta * delta * a.count * part};
}

template <class E>
struct GroupNormParams {
  const E* x;
  const E* xLow;
  int64_t n, rows, c, groups;
  float eps;
  const float* gamma;
  const float* beta;
  bool silu;
  E* y;
  int64_t chunks, chunkRows;
  double* moments;  // [n][chunks][groups][3]
  float* scales;    // [n][groups][3]: mean as two floats, 1 / deviation
  bool whole;       // quads may be moved at once
};

// Numbers that a thread adds up in Sum, less the first of them, before they go into a double: on most cards a double takes as long as
// 64 floats. Statistics of bfloat16 need no more than float.
template <class E>
struct MomentRun;
template <>
struct MomentRun<float> {
  using Sum = double;
  static constexpr int kLength = 16;
};
template <>
struct MomentRun<Bf16> {
  using Sum = float;
  static constexpr int kLength = 64;
};
constexpr int kLayerRun = 16;  // quads

// The moments of a group's channels in a chunk of rows of a sample: a block each. Threads walk along the rows, neighbours of a row side
// by side. The sums are merged in a fixed order.
template <class E>
struct GroupMoments {
  using Params = GroupNormParams<E>;
  static constexpr const char* kName = "group_moments";
  static constexpr int kThreads = 128, kBlocks = 8;
  static constexpr uint32_t kSharedBytes = kThreads * 24;
  static ASDM_DEVICE void run(const Params& p) {
    const int64_t group = block().x, chunk = block().y, sample = block().z, width = p.c / p.groups;
    const int64_t firstRow = chunk * p.chunkRows, count = (smaller(firstRow + p.chunkRows, p.rows) - firstRow) * width;
    const E* const x = p.x + (sample * p.rows + firstRow) * p.c + group * width;
    Moments all{0, 0, 0};
    int64_t i = thread(), row = i / width, column = i - row * width;
    const int64_t rowStep = kThreads / width, columnStep = kThreads - rowStep * width;
    while (i < count) {
      using Sum = typename MomentRun<E>::Sum;
      float first = 0;
      Sum sum = 0, squares = 0;
      int used = 0;
      for (; used < MomentRun<E>::kLength && i < count; used++, i += kThreads) {
        const float value = asFloat(load(x + row * p.c + column));
        if (used == 0) first = value;
        const Sum d = static_cast<Sum>(value) - static_cast<Sum>(first);
        sum += d;
        squares += d * d;
        row += rowStep;
        column += columnStep;
        if (column >= width) {
          column -= width;
          row++;
        }
      }
      const double whole = static_cast<double>(sum), mean = whole / used;
      all = merged(all, Moments{static_cast<double>(used), static_cast<double>(first) + mean, static_cast<double>(squares) - whole * mean});
    }
    const uint32_t at = static_cast<uint32_t>(thread()) * 24;
    sharedStore(at, all.count);
    sharedStore(at + 8, all.mean);
    sharedStore(at + 16, all.squares);
    for (int half = kThreads / 2; half > 0; half /= 2) {
      barrier();
      if (thread() < half) {
        const uint32_t other = at + static_cast<uint32_t>(half) * 24;
        all = merged(all, Moments{sharedLoad<double>(other), sharedLoad<double>(other + 8), sharedLoad<double>(other + 16)});
        sharedStore(at, all.count);
        sharedStore(at + 8, all.mean);
        sharedStore(at + 16, all.squares);
      }
    }
    if (thread() == 0) {
      double* const to = p.moments + ((sample * p.chunks + chunk) * p.groups + group) * 3;
      store(to, all.count);
      store(to + 1, all.mean);
      store(to + 2, all.squares);
    }
  }
};

// Means and deviations from the chunks' moments: a thread for each sample and group.
template <class E>
struct GroupScales {
  using Params = GroupNormParams<E>;
  static constexpr const char* kName = "group_scales";
  static constexpr int kThreads = 64, kBlocks = 8;
  static ASDM_DEVICE void run(const Params& p) {
    const int64_t at = static_cast<int64_t>(block().x) * kThreads + thread();
    if (at >= p.n * p.groups) return;
    const int64_t sample = at / p.groups, group = at - sample * p.groups;
    Moments all{0, 0, 0};
    for (int64_t chunk = 0; chunk < p.chunks; chunk++) {
      const double* const from = p.moments + ((sample * p.chunks + chunk) * p.groups + group) * 3;
      all = merged(all, Moments{load(from), load(from + 1), load(from + 2)});
    }
    const double variance = all.squares / all.count;
    const float mean = static_cast<float>(all.mean);
    store(p.scales + at * 3, mean);
    store(p.scales + at * 3 + 1, static_cast<float>(all.mean - static_cast<double>(mean)));
    store(p.scales + at * 3 + 2, static_cast<float>(1.0 / sqrt(variance + static_cast<double>(p.eps))));
  }
};

// y from the scales: four neighbours of a row a thread.
template <class E>
struct GroupApply {
  using Params = GroupNormParams<E>;
  static constexpr const char* kName = "group_apply";
  static constexpr int kThreads = 256, kBlocks = 4;
  static ASDM_DEVICE void run(const Params& p) {
    const int64_t quads = ceilDiv(p.c, 4), at = static_cast<int64_t>(block().x) * kThreads + thread();
    if (at >= p.n * p.rows * quads) return;
    const int64_t row = quotient(at, quads), column = (at - row * quads) * 4, sample = quotient(row, p.rows), width = p.c / p.groups;
    const int count = static_cast<int>(smaller(4, p.c - column));
    float v[4], low[4], gamma[4], beta[4];
    loadFour(p.x + row * p.c + column, p.whole, count, v);
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) low[i] = 0;
    if (p.xLow != nullptr) loadFour(p.xLow + row * p.c + column, p.whole, count, low);
    loadFour(p.gamma + column, p.whole, count, gamma);
    loadFour(p.beta + column, p.whole, count, beta);
    int64_t group = quotient(column, width), edge = (group + 1) * width;
    const float* scale = p.scales + (sample * p.groups + group) * 3;
    float mean = load(scale), meanLow = load(scale + 1), inverse = load(scale + 2);
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) {
      if (i >= count) continue;
      if (column + i == edge) {
        edge += width;
        scale += 3;
        mean = load(scale);
        meanLow = load(scale + 1);
        inverse = load(scale + 2);
      }
      const float normal = ((v[i] - mean) - meanLow + low[i]) * inverse;
      const float scaled = fmaf(normal, gamma[i], beta[i]);
      v[i] = p.silu ? silu(scaled) : scaled;
    }
    storeFour(p.y + row * p.c + column, p.whole, count, v);
  }
};

template <class E>
struct LayerNormParams {
  const E* x;
  const E* xLow;
  int64_t rows, c;
  float eps;
  const float* gamma;
  const float* beta;
  E* y;
  bool whole;
};

// A warp for each row, which it reads three times, the second and third from the cache.
template <class E>
struct LayerNorm {
  using Params = LayerNormParams<E>;
  static constexpr const char* kName = "layer_norm";
  static constexpr int kThreads = 128, kBlocks = 8;

  static ASDM_DEVICE double summed(double v) {
    ASDM_UNROLL
    for (int mask = 16; mask > 0; mask /= 2) {
      const uint64_t bits = bitsAs<uint64_t>(v);
      const uint32_t low = shuffleXor(static_cast<uint32_t>(bits), mask), high = shuffleXor(static_cast<uint32_t>(bits >> 32), mask);
      v += bitsAs<double>(static_cast<uint64_t>(high) << 32 | low);
    }
    return v;
  }

  static ASDM_DEVICE void run(const Params& p) {
    const int64_t row = static_cast<int64_t>(block().x) * (kThreads / 32) + warp();
    if (row >= p.rows) return;
    const E* const x = p.x + row * p.c;
    const float first = shuffle(lane() == 0 ? asFloat(load(x)) : 0.0f, 0);  // read by its owner alone: y may be x
    float sum = 0;
    double sums = 0;
    int run = 0;
    // Less the row's first number, so that a mean far above the deviation costs nothing; in float by runs.
    for (int64_t at = lane() * 4; at < p.c; at += 128) {
      const int count = static_cast<int>(smaller(4, p.c - at));
      float v[4];
      loadFour(x + at, p.whole, count, v);
      ASDM_UNROLL
      for (int i = 0; i < 4; i++)
        if (i < count) sum += v[i] - first;
      if (++run % kLayerRun == 0) {
        sums += static_cast<double>(sum);
        sum = 0;
      }
    }
    const double mean = summed(sums + static_cast<double>(sum)) / static_cast<double>(p.c);
    const float shift = static_cast<float>(mean), shiftLow = static_cast<float>(mean - static_cast<double>(shift));
    float square = 0;
    double squares = 0;
    for (int64_t at = lane() * 4; at < p.c; at += 128) {
      const int count = static_cast<int>(smaller(4, p.c - at));
      float v[4];
      loadFour(x + at, p.whole, count, v);
      ASDM_UNROLL
      for (int i = 0; i < 4; i++) {
        const float d = ((v[i] - first) - shift) - shiftLow;
        if (i < count) square = fmaf(d, d, square);
      }
      if (++run % kLayerRun == 0) {
        squares += static_cast<double>(square);
        square = 0;
      }
    }
    const double variance = summed(squares + static_cast<double>(square)) / static_cast<double>(p.c);
    const float inverse = static_cast<float>(1.0 / sqrt(variance + static_cast<double>(p.eps)));
    for (int64_t at = lane() * 4; at < p.c; at += 128) {
      const int count = static_cast<int>(smaller(4, p.c - at));
      float v[4], low[4], gamma[4], beta[4];
      loadFour(x + at, p.whole, count, v);
      ASDM_UNROLL
      for (int i = 0; i < 4; i++) low[i] = 0;
      if (p.xLow != nullptr) loadFour(p.xLow + row * p.c + at, p.whole, count, low);
      loadFour(p.gamma + at, p.whole, count, gamma);
      loadFour(p.beta + at, p.whole, count, beta);
      ASDM_UNROLL
      for (int i = 0; i < 4; i++) v[i] = fmaf((((v[i] - first) - shift) - shiftLow + low[i]) * inverse, gamma[i], beta[i]);
      storeFour(p.y + row * p.c + at, p.whole, count, v);
    }
  }
};

}  // namespace asdm::cuda

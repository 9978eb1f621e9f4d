// Activations, sums, gates, copies, look-ups and transposes; contracts in backend/arguments.h. Four neighbours a thread where a row allows.
#pragma once

#include "cuda/kernels/numbers.h"

namespace asdm::cuda {

constexpr int kElementThreads = 256;

ASDM_DEVICE int64_t elementIndex() { return static_cast<int64_t>(block().x) * kElementThreads + thread(); }

template <class E>
struct ActivationParams {
  const E* x;
  E* y;
  int64_t count;
  Activation activation;
  bool whole;
};
template <class E>
struct Activate {
  using Params = ActivationParams<E>;
  static constexpr const char* kName = "activation";
  static constexpr int kThreads = kElementThreads, kBlocks = 4;
  static ASDM_DEVICE void run(const Params& p) {
    const int64_t at = elementIndex() * 4;
    if (at >= p.count) return;
    const int count = static_cast<int>(smaller(4, p.count - at));
    const bool whole = p.whole && count == 4;
    float v[4];
    loadFour(p.x + at, whole, count, v);
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) v[i] = activated(p.activation, v[i]);
    storeFour(p.y + at, whole, count, v);
  }
};

template <class E>
struct AddParams {
  const E *a, *b, *aLow, *bLow;
  E *y, *yLow;
  int64_t count;
  bool whole;
};
template <class E>
struct Add {
  using Params = AddParams<E>;
  static constexpr const char* kName = "add";
  static constexpr int kThreads = kElementThreads, kBlocks = 4;
  static ASDM_DEVICE void whole(const E* x, const E* low, bool whole, int count, float (&v)[4]) {
    loadFour(x, whole, count, v);
    if (low == nullptr) return;
    float more[4];
    loadFour(low, whole, count, more);
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) v[i] += more[i];
  }
  static ASDM_DEVICE void run(const Params& p) {
    const int64_t at = elementIndex() * 4;
    if (at >= p.count) return;
    const int count = static_cast<int>(smaller(4, p.count - at));
    const bool four = p.whole && count == 4;
    float a[4], b[4];
    whole(p.a + at, p.aLow == nullptr ? nullptr : p.aLow + at, four, count, a);
    whole(p.b + at, p.bLow == nullptr ? nullptr : p.bLow + at, four, count, b);
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) a[i] += b[i];
    storeFour(p.y + at, four, count, a);
    if (p.yLow == nullptr) return;
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) a[i] -= asFloat(Rounded<E>::of(a[i]));
    storeFour(p.yLow + at, four, count, a);
  }
};

template <class E>
struct GegluParams {
  const E* x;
  E* y;
  int64_t rows, inner;
  bool whole;
};
template <class E>
struct Geglu {
  using Params = GegluParams<E>;
  static constexpr const char* kName = "geglu";
  static constexpr int kThreads = kElementThreads, kBlocks = 4;
  static ASDM_DEVICE void run(const Params& p) {
    const int64_t quads = ceilDiv(p.inner, 4), at = elementIndex();
    if (at >= p.rows * quads) return;
    const int64_t row = quotient(at, quads), column = (at - row * quads) * 4;
    const int count = static_cast<int>(smaller(4, p.inner - column));
    float v[4], gate[4];
    loadFour(p.x + row * 2 * p.inner + column, p.whole, count, v);
    loadFour(p.x + row * 2 * p.inner + p.inner + column, p.whole, count, gate);
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) v[i] *= gelu(gate[i]);
    storeFour(p.y + row * p.inner + column, p.whole, count, v);
  }
};

template <class E>
struct ConcatParams {
  const E *a, *b, *aLow, *bLow;
  E *y, *yLow;
  int64_t rows, ca, cb;
  bool whole;
};
template <class E>
struct Concat {
  using Params = ConcatParams<E>;
  static constexpr const char* kName = "concat";
  static constexpr int kThreads = kElementThreads, kBlocks = 4;
  static ASDM_DEVICE void copy(const E* from, E* to, bool whole, int count) {
    float v[4] = {0, 0, 0, 0};
    if (from != nullptr) loadFour(from, whole, count, v);
    storeFour(to, whole, count, v);
  }
  static ASDM_DEVICE void run(const Params& p) {
    // Quads of a, then those of b, of each row.
    const int64_t quadsA = ceilDiv(p.ca, 4), quads = quadsA + ceilDiv(p.cb, 4), at = elementIndex();
    if (at >= p.rows * quads) return;
    const int64_t row = quotient(at, quads), quad = at - row * quads;
    const bool second = quad >= quadsA;
    const int64_t width = second ? p.cb : p.ca, column = (second ? quad - quadsA : quad) * 4;
    const int count = static_cast<int>(smaller(4, width - column));
    const int64_t from = row * width + column, to = row * (p.ca + p.cb) + (second ? p.ca : 0) + column;
    copy((second ? p.b : p.a) + from, p.y + to, p.whole, count);
    if (p.yLow == nullptr) return;
    const E* const low = second ? p.bLow : p.aLow;
    copy(low == nullptr ? nullptr : low + from, p.yLow + to, p.whole, count);
  }
};

template <class E>
struct EmbedParams {
  const int32_t* ids;
  int64_t rows, length, width;
  const E *token, *position;
  E* y;
};
template <class E>
struct Embed {
  using Params = EmbedParams<E>;
  static constexpr const char* kName = "embed";
  static constexpr int kThreads = kElementThreads, kBlocks = 4;
  static ASDM_DEVICE void run(const Params& p) {
    const int64_t at = elementIndex();
    if (at >= p.rows * p.width) return;
    const int64_t row = quotient(at, p.width), column = at - row * p.width;
    const float token = asFloat(load(p.token + static_cast<int64_t>(load(p.ids + row)) * p.width + column));
    store(p.y + at, Rounded<E>::of(token + asFloat(load(p.position + row % p.length * p.width + column))));
  }
};

template <class E>
struct TimestepParams {
  const float* t;
  int64_t n, dim;
  bool flip;
  float freqShift;
  E* y;
};
template <class E>
struct Timestep {
  using Params = TimestepParams<E>;
  static constexpr const char* kName = "timestep";
  static constexpr int kThreads = kElementThreads, kBlocks = 2;
  static ASDM_DEVICE void run(const Params& p) {
    const int64_t half = p.dim / 2, each = half + p.dim % 2, at = elementIndex();
    if (at >= p.n * each) return;
    const int64_t i = quotient(at, each), j = at - i * each;
    E* const y = p.y + i * p.dim;
    if (j == half) {
      store(y + p.dim - 1, Rounded<E>::of(0.0f));
      return;
    }
    const double exponent = -9.210340371976184 * static_cast<double>(j) / (static_cast<double>(half) - static_cast<double>(p.freqShift));
    const float frequency = static_cast<float>(exp(exponent));  // rounded, as the models' own training code had it
    const double angle = static_cast<double>(load(p.t + i)) * static_cast<double>(frequency);
    store(y + (p.flip ? half : 0) + j, Rounded<E>::of(static_cast<float>(sin(angle))));
    store(y + (p.flip ? 0 : half) + j, Rounded<E>::of(static_cast<float>(cos(angle))));
  }
};

template <class E>
struct LineParams {
  const E *last, *before, *lastLow, *beforeLow;
  int64_t count;
  float slope;
  E *y, *yLow;
  bool whole;
};
template <class E>
struct Line {
  using Params = LineParams<E>;
  static constexpr const char* kName = "line";
  static constexpr int kThreads = kElementThreads, kBlocks = 4;
  static ASDM_DEVICE void run(const Params& p) {
    const int64_t at = elementIndex() * 4;
    if (at >= p.count) return;
    const int count = static_cast<int>(smaller(4, p.count - at));
    const bool four = p.whole && count == 4;
    float last[4], before[4];
    Add<E>::whole(p.last + at, p.lastLow == nullptr ? nullptr : p.lastLow + at, four, count, last);
    Add<E>::whole(p.before + at, p.beforeLow == nullptr ? nullptr : p.beforeLow + at, four, count, before);
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) last[i] += p.slope * (last[i] - before[i]);
    storeFour(p.y + at, four, count, last);
    if (p.yLow == nullptr) return;
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) last[i] -= asFloat(Rounded<E>::of(last[i]));
    storeFour(p.yLow + at, four, count, last);
  }
};

template <class E>
struct ChangeParams {
  const E *now, *before;
  int64_t count, runs;
  double* partial;  // [runs][2]
  double* sums;
};
// Sums of a run of numbers: a block each, its threads' sums added in a fixed order.
template <class E>
struct ChangeRuns {
  using Params = ChangeParams<E>;
  static constexpr const char* kName = "change_runs";
  static constexpr int kThreads = kElementThreads, kBlocks = 4;
  static constexpr int64_t kRun = int64_t{1} << 14;
  static constexpr uint32_t kSharedBytes = kThreads * 16;
  static ASDM_DEVICE void run(const Params& p) {
    const int64_t first = block().x * kRun, end = smaller(first + kRun, p.count);
    double change = 0, size = 0;
    for (int64_t i = first + thread(); i < end; i += kThreads) {
      const double now = static_cast<double>(asFloat(load(p.now + i))), before = static_cast<double>(asFloat(load(p.before + i)));
      change += fabs(now - before);
      size += fabs(before);
    }
    const uint32_t at = static_cast<uint32_t>(thread()) * 16;
    sharedStore(at, change);
    sharedStore(at + 8, size);
    for (int half = kThreads / 2; half > 0; half /= 2) {
      barrier();
      if (thread() >= half) continue;
      change += sharedLoad<double>(at + static_cast<uint32_t>(half) * 16);
      size += sharedLoad<double>(at + static_cast<uint32_t>(half) * 16 + 8);
      sharedStore(at, change);
      sharedStore(at + 8, size);
    }
    if (thread() != 0) return;
    store(p.partial + block().x * 2, change);
    store(p.partial + block().x * 2 + 1, size);
  }
};
// The runs' sums in order: one thread for each of the two.
template <class E>
struct ChangeSums {
  using Params = ChangeParams<E>;
  static constexpr const char* kName = "change_sums";
  static constexpr int kThreads = 32, kBlocks = 4;
  static ASDM_DEVICE void run(const Params& p) {
    if (thread() >= 2) return;
    double sum = 0;
    for (int64_t i = 0; i < p.runs; i++) sum += load(p.partial + i * 2 + thread());
    store(p.sums + thread(), load(p.sums + thread()) + sum);
  }
};

struct CopyParams {
  const unsigned char* x;
  unsigned char* y;
  int64_t bytes;
  bool whole;  // 16 bytes at a time
};
struct Copy {
  using Params = CopyParams;
  static constexpr const char* kName = "copy";
  static constexpr int kThreads = kElementThreads, kBlocks = 4;
  static ASDM_DEVICE void run(const Params& p) {
    const int64_t at = elementIndex() * 16;
    if (at >= p.bytes) return;
    if (p.whole && at + 16 <= p.bytes) {
      store(reinterpret_cast<Words4*>(p.y + at), load(reinterpret_cast<const Words4*>(p.x + at)));
      return;
    }
    const int64_t end = smaller(at + 16, p.bytes);
    for (int64_t i = at; i < end; i++) store(p.y + i, load(p.x + i));
  }
};

template <class From, class To>
struct TransposeParams {
  const From* x;
  To *y, *yLow;
  int64_t rows, columns;  // of x; those of the other samples follow
};
// y[c][r] = x[r][c]: tiles of 32x32 through shared memory, so that both sides are read and written along their rows.
template <class From, class To>
struct Transpose {
  using Params = TransposeParams<From, To>;
  static constexpr const char* kName = "transpose";
  static constexpr int kThreads = kElementThreads, kBlocks = 4, kTile = 32;
  static constexpr uint32_t kLd = kTile + 1, kSharedBytes = kTile * kLd * 4;
  static ASDM_DEVICE void run(const Params& p) {
    const int64_t across = ceilDiv(p.columns, kTile), tile = block().x, sample = block().z * p.rows * p.columns;
    const int64_t firstRow = tile / across * kTile, firstColumn = tile % across * kTile;
    for (int i = warp(); i < kTile; i += kThreads / 32) {
      const int64_t row = firstRow + i, column = firstColumn + lane();
      if (row < p.rows && column < p.columns)
        sharedStore((static_cast<uint32_t>(i) * kLd + static_cast<uint32_t>(lane())) * 4,
                    asFloat(load(p.x + sample + row * p.columns + column)));
    }
    barrier();
    for (int i = warp(); i < kTile; i += kThreads / 32) {
      const int64_t row = firstRow + lane(), column = firstColumn + i;
      if (row >= p.rows || column >= p.columns) continue;
      const float v = sharedLoad<float>((static_cast<uint32_t>(lane()) * kLd + static_cast<uint32_t>(i)) * 4);
      const int64_t at = sample + column * p.rows + row;
      store(p.y + at, Rounded<To>::of(v));
      if (p.yLow != nullptr) store(p.yLow + at, Rounded<To>::of(v - asFloat(Rounded<To>::of(v))));
    }
  }
};

}  // namespace asdm::cuda

// Gradients of products of floats, for every set: of the weights, and of the left side by the transposed weights. Include after
// gemm.inc.h.
//
// dw[k, n] = sum over rows of x[row, k] * dy[row, n] is laid out as packed weights are, kNr features of one panel side by side for each k;
// so a tile of kMr elements of k times a panel is added where it belongs, and gradients, moments and weights can be walked as plain arrays.
#pragma once

namespace asdm::cpu::ASDM_SET {

// Rows that are multiplied at a time: 256 of a panel of dy (32 KB) stay in the first-level cache, those of kStripTiles tiles of x in the second.
constexpr int64_t kGradientRows = 256;
constexpr int64_t kStripTiles = 8;
constexpr int64_t kStripWidth = (kStripTiles * kMr + 15) / 16 * 16 + 16;

// One tile's work: `steps` rows of x (at distance kStripWidth) and dy (at distance kNr).
struct GradientTile {
  const float* left;
  const float* right;
  int64_t steps;
  float* sums;  // [R][kNr]
};

template <int R, int V>
void gradientKernel(const GradientTile& t) {
  vf sum[R][V];
  ASDM_UNROLL
  for (int r = 0; r < R; r++) {
    ASDM_UNROLL
    for (int v = 0; v < V; v++) sum[r][v] = vzero();
  }
  const float* left = t.left;
  const float* right = t.right;
  for (int64_t step = 0; step < t.steps; step++, left += kStripWidth, right += kNr) {
    vf b[V];
    ASDM_UNROLL
    for (int v = 0; v < V; v++) b[v] = vload(right + v * kVf);
    ASDM_UNROLL
    for (int r = 0; r < R; r++) {
      const vf a = vset(left[r]);
      ASDM_UNROLL
      for (int v = 0; v < V; v++) sum[r][v] = vfma(a, b[v], sum[r][v]);
    }
  }
  ASDM_UNROLL
  for (int r = 0; r < R; r++) {
    ASDM_UNROLL
    for (int v = 0; v < V; v++) vstore(t.sums + r * kNr + v * kVf, vadd(vload(t.sums + r * kNr + v * kVf), sum[r][v]));
  }
}

// By height and by how many vectors of the panel have features.
struct GradientKernels {
  using Function = void (*)(const GradientTile&);
  template <int V, int R>
  void fill() {
    table[V - 1][R - 1] = &gradientKernel<R, V>;
    if constexpr (R > 1) fill<V, R - 1>();
    else if constexpr (V > 1) fill<V - 1, kMr>();
  }
  GradientKernels() { fill<kNv, kMr>(); }
  Function table[kNv][kMr];
};

// The tiles of a packed matrix's elements of k; none reaches over the end of a k block.
struct GradientTiles {
  int64_t k, kc, perBlock, count;
  explicit GradientTiles(const WeightShape& shape) : k(shape.k()), kc(blockLength(stepsOf(shape))), perBlock(ceilDiv(kc, kMr)) {
    const int64_t whole = k / kc;
    count = whole * perBlock + ceilDiv(k - whole * kc, kMr);
  }
  // Where a tile begins; that of `count` is k.
  int64_t first(int64_t tile) const {
    if (tile == count) return k;
    const int64_t block = tile / perBlock, length = smaller(kc, k - block * kc);
    return block * kc + tileRow(tile % perBlock, ceilDiv(length, kMr), length);
  }
};

ASDM_INLINE size_t gradientWorkerBytes() { return static_cast<size_t>(kGradientRows * (kStripWidth + kNr)) * sizeof(float); }

size_t weightGradientScratch(int threads) noexcept { return static_cast<size_t>(threads) * gradientWorkerBytes(); }

// dw += x^T . dy for the product's left side x; the rest of the product is not looked at.
void weightGradient(const Product<float>& p, const float* dy, float* dw, KernelContext& context) noexcept {
  const GradientKernels kernels;
  const GradientTiles tiles(p.shape);
  const int64_t n = p.shape.n, panels = ceilDiv(n, kNr), kc = tiles.kc, steps = stepsOf(p.shape);
  const Grid grid = chooseGrid(tiles.count, panels, p.groups * p.groupRows, kMr, kNv, kVf, kStripTiles, panels, context.pool.threads());
  context.pool.run(grid.rows * grid.columns, [&](int64_t task, int worker) {
    const auto [row, column] = grid.placeOf(task, context.pool.threads());
    const int64_t firstTile = row * tiles.count / grid.rows, endTile = (row + 1) * tiles.count / grid.rows;
    const int64_t firstPanel = column * panels / grid.columns, endPanel = (column + 1) * panels / grid.columns;
    const int64_t k0 = tiles.first(firstTile), width = tiles.first(endTile) - k0;
    float* const strip = reinterpret_cast<float*>(context.scratch + static_cast<size_t>(worker) * gradientWorkerBytes());
    float* const right = strip + kGradientRows * kStripWidth;
    for (int64_t group = 0; group < p.groups; group++) {
      for (int64_t from = 0; from < p.groupRows; from += kGradientRows) {
        // A task may take long; an abort must not.
        if (context.pool.cancelled()) return;
        const int64_t first = group * p.groupRows + from, rows = smaller(kGradientRows, p.groupRows - from);
        p.copyRows(p.source, first, static_cast<int>(rows), k0, width, strip, kStripWidth);
        for (int64_t panel = firstPanel; panel < endPanel; panel++) {
          const int64_t features = smaller(kNr, n - panel * kNr);
          const float* const in = dy + first * n + panel * kNr;
          for (int64_t i = 0; i < rows; i++) {
            for (int v = 0; v < kNv; v++) {
              const int64_t left = features - v * kVf;
              vstore(right + i * kNr + v * kVf,
                     left >= kVf ? vload(in + i * n + v * kVf) : vloadn(in + i * n + v * kVf, static_cast<int>(left > 0 ? left : 0)));
            }
          }
          for (int64_t tile = firstTile; tile < endTile; tile++) {
            const int64_t k = tiles.first(tile), block = k / kc * kc;
            const int64_t length = smaller(kc, steps - block);
            const GradientTile t{strip + k - k0, right, rows, dw + (block * panels + panel * length + k - block) * kNr};
            kernels.table[(features - 1) / kVf][tiles.first(tile + 1) - k - 1](t);
          }
        }
      }
    }
  });
}

// Rows of a run of chunks whose column sums are taken one after the other.
constexpr int64_t kSumChunk = 32768;
ASDM_INLINE int64_t sumRowsPerTask(int64_t n) { return kSumChunk / n > 1 ? kSumChunk / n : 1; }

size_t columnSumsScratch(int64_t m, int64_t n) noexcept {
  return static_cast<size_t>(ceilDiv(m, sumRowsPerTask(n)) * (n + 15)) * sizeof(float) + 64;
}

// sums[j] += sum over m rows of x[i, j], in float over a chunk of rows, then in double.
void addColumnSums(const float* x, int64_t m, int64_t n, float* sums, KernelContext& context) noexcept {
  const int64_t step = sumRowsPerTask(n), tasks = ceilDiv(m, step), width = (n + 15) / 16 * 16;
  float* const parts = reinterpret_cast<float*>(context.scratch);
  context.pool.run(tasks, [&](int64_t task, int) {
    const int64_t first = task * step, end = smaller(m, first + step);
    float* const part = parts + task * width;
    for (int64_t j = 0; j < n; j += kVf) {
      const int lanes = static_cast<int>(smaller(kVf, n - j));
      vf a = vzero(), b = vzero();
      int64_t i = first;
      if (lanes == kVf) {
        for (; i + 2 <= end; i += 2) {
          a = vadd(a, vload(x + i * n + j));
          b = vadd(b, vload(x + (i + 1) * n + j));
        }
      }
      for (; i < end; i++) a = vadd(a, vloadn(x + i * n + j, lanes));
      vstoren(part + j, vadd(a, b), lanes);
    }
  });
  if (context.pool.cancelled()) return;
  for (int64_t j = 0; j < n; j++) {
    double sum = 0;
    for (int64_t task = 0; task < tasks; task++) sum += static_cast<double>(parts[task * width + j]);
    sums[j] += static_cast<float>(sum);
  }
}

// Packs w' [channels][(taps, n)] with w'[c, (area - 1 - tap, o)] = w[o, (tap, c)]: the weights of the convolution that a convolution's
// input gradient is; of one tap, the transposed matrix.
void packTransposed(const WeightShape& shape, const float* packed, float* to, ThreadPool& pool) noexcept {
  const WeightShape turned = transposed(shape);
  const int64_t c = shape.channels, n = shape.n, panels = ceilDiv(n, kNr);
  const auto rowAt = [](const WeightShape& s, int64_t panel, int64_t k) {
    const int64_t steps = stepsOf(s), kc = blockLength(steps), first = k / kc * kc;
    return (first * ceilDiv(s.n, kNr) + panel * smaller(kc, steps - first) + k - first) * kNr;
  };
  const int64_t columns = ceilDiv(c, kNr);
  pool.run(shape.area * columns, [&](int64_t task, int) {
    const int64_t tap = task / columns, column = task % columns, turnedTap = shape.area - 1 - tap;
    const int64_t width = smaller(kNr, c - column * kNr);
    for (int64_t panel = 0; panel < panels; panel++) {
      const int64_t height = smaller(kNr, n - panel * kNr);
      const float* from[kNr];
      for (int64_t j = 0; j < width; j++) from[j] = packed + rowAt(shape, panel, tap * c + column * kNr + j);
      for (int64_t i = 0; i < height; i++) {
        float* const row = to + rowAt(turned, column, turnedTap * n + panel * kNr + i);
        for (int64_t j = 0; j < width; j++) row[j] = from[j][i];
        for (int64_t j = width; j < kNr; j++) row[j] = 0.0f;
      }
    }
  });
}

// Bytes of the transposed matrix, packed, in whole cache lines.
size_t transposedBytes(const WeightShape& shape) noexcept { return (packedBytes<float>(transposed(shape)) + 63) / 64 * 64; }

ASDM_INLINE LinearArgs inputGradientProduct(const LinearInputGradientArgs& a, const void* weight) {
  LinearArgs l{};
  l.x = a.dy;
  l.m = a.m;
  l.shape = transposed(a.shape);
  l.ldx = a.shape.n;
  l.weight = weight;
  l.y = a.dx;
  l.ldr = l.ldy = a.shape.channels;
  return l;
}

void linearInputGradient(const LinearInputGradientArgs& a, KernelContext& context) noexcept {
  packTransposed(a.shape, static_cast<const float*>(a.weight), reinterpret_cast<float*>(context.scratch), context.pool);
  KernelContext rest{context.pool, context.scratch + transposedBytes(a.shape)};
  linear<float>(inputGradientProduct(a, context.scratch), rest);
}
size_t linearInputGradientScratch(const LinearInputGradientArgs& a, int threads) noexcept {
  return transposedBytes(a.shape) + linearScratch<float>(inputGradientProduct(a, nullptr), threads);
}

void linearWeightGradient(const LinearWeightGradientArgs& a, KernelContext& context) noexcept {
  LinearArgs l{};
  l.x = a.x;
  l.m = a.m;
  l.ldx = a.shape.channels;
  l.shape = a.shape;
  if (a.dWeight != nullptr) weightGradient(productOf<float>(l), static_cast<const float*>(a.dy), a.dWeight, context);
  if (a.dBias != nullptr) addColumnSums(static_cast<const float*>(a.dy), a.m, a.shape.n, a.dBias, context);
}
size_t linearWeightGradientScratch(const LinearWeightGradientArgs& a, int threads) noexcept {
  const size_t product = weightGradientScratch(threads), sums = columnSumsScratch(a.m, a.shape.n);
  return product > sums ? product : sums;
}

void unpack(const UnpackArgs& a) noexcept {
  const int64_t k = a.shape.k(), area = a.shape.area, channels = a.shape.channels;
  for (int64_t i = 0; i < a.rows; i++) {
    const int64_t o = a.first + i;
    for (int64_t at = 0; at < k;) {
      int64_t length = 0;
      const float* from = static_cast<const float*>(packedRow<float>(a.shape, a.packed, o / kNr, at, &length)) + o % kNr;
      for (int64_t end = smaller(k, at + length); at < end; at++, from += kNr) a.to[i * k + at % channels * area + at / channels] = *from;
    }
  }
}

}  // namespace asdm::cpu::ASDM_SET

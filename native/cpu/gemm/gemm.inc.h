// The blocked product and the packing of weights, for every set. Include after tile.inc.h, with kMaxTiles and kMaxPanels defined,
// the most tiles and panels of one task: the tiles' copied rows should fill about half of the second-level cache.
#pragma once

namespace asdm::cpu::ASDM_SET {

ASDM_INLINE int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
ASDM_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Length of the k blocks (the last may be shorter): equal parts, at most kKc, whole cache lines.
ASDM_INLINE int64_t blockLength(int64_t k) {
  const int64_t parts = ceilDiv(k, kKc);
  return smaller(kKc, ceilDiv(ceilDiv(k, parts), 16) * 16);
}

size_t packedBytes(const WeightShape& shape) noexcept {
  return static_cast<size_t>(ceilDiv(shape.n, kNr) * kNr * shape.k()) * sizeof(float);
}

void pack(const PackArgs& p) noexcept {
  const int64_t k = p.shape.k(), area = p.shape.area, channels = p.shape.channels;
  const int64_t kc = blockLength(k), panels = ceilDiv(p.shape.n, kNr);
  float* const packed = static_cast<float*>(p.packed);
  // Sixteen input features at a time: their taps are read and written within a few KB, although the two orders differ.
  constexpr int64_t kRun = 16;
  int64_t end = p.first + p.rows;
  for (int64_t from = p.first; from < end;) {
    const int64_t panel = from / kNr, to = smaller(end, (panel + 1) * kNr);
    // Who brings the last feature also clears the lanes beyond it.
    const int64_t lanesTo = to == p.shape.n ? (panel + 1) * kNr : to;
    for (int64_t c0 = 0; c0 < channels; c0 += kRun) {
      const int64_t c1 = smaller(channels, c0 + kRun);
      for (int64_t o = from; o < lanesTo; o++) {
        const float* source = o < to ? p.source + (o - p.first) * k : nullptr;
        for (int64_t tap = 0; tap < area; tap++) {
          int64_t at = tap * channels + c0;
          int64_t block = at / kc, inside = at % kc;
          int64_t length = smaller(kc, k - block * kc);
          float* out = packed + block * kc * panels * kNr + panel * length * kNr + inside * kNr + (o - panel * kNr);
          for (int64_t c = c0; c < c1; c++, inside++, out += kNr) {
            if (inside == length) {
              block++;
              inside = 0;
              length = smaller(kc, k - block * kc);
              out = packed + block * kc * panels * kNr + panel * length * kNr + (o - panel * kNr);
            }
            *out = source != nullptr ? source[c * area + tap] : 0.0f;
          }
        }
      }
    }
    from = to;
  }
}

ASDM_INLINE int64_t tilesOf(const Product& p) { return p.groups * ceilDiv(p.groupRows, kMr); }

// A worker's scratch: the copied rows of its task's tiles, then the sums of all its tiles between k blocks.
ASDM_INLINE int64_t copiedFloats(const Product& p) { return smaller(tilesOf(p), kMaxTiles) * kMr * kStride; }
ASDM_INLINE int64_t workerFloats(const Product& p) {
  const bool several = p.shape.k() > blockLength(p.shape.k());
  const int64_t panels = several ? smaller(ceilDiv(p.shape.n, kNr), kMaxPanels) : 0;
  return copiedFloats(p) + smaller(tilesOf(p), kMaxTiles) * panels * kMr * kNr;
}

size_t productScratch(const Product& p, int threads) noexcept {
  return static_cast<size_t>(threads * workerFloats(p)) * sizeof(float);
}

void product(const Product& p, KernelContext& context) noexcept {
  TileKernel kernels[kNv][kMr];
  FillKernels<kNv, kMr>::into(kernels);
  const int64_t k = p.shape.k(), n = p.shape.n, kc = blockLength(k), panels = ceilDiv(n, kNr);
  const int64_t groupTiles = ceilDiv(p.groupRows, kMr), tiles = tilesOf(p);
  const Grid grid = chooseGrid(tiles, panels, k, kMr, kNv, kVf, kMaxTiles, k > kc ? kMaxPanels : panels, context.pool.threads());
  const float* weight = static_cast<const float*>(p.weight);
  const int64_t perWorker = workerFloats(p), copiedPart = copiedFloats(p);
  // Tiles of a group have nearly equal heights: 16 rows are 8 + 8, which wastes less than 14 + 2.
  const auto rowOf = [&](int64_t tile) {
    return tile / groupTiles * p.groupRows + tile % groupTiles * p.groupRows / groupTiles;
  };

  // Neighbouring tasks share their panels, which one core's reading brings into the shared cache for the others.
  context.pool.run(grid.rows * grid.columns, [&](int64_t task, int worker) {
    const int64_t row = task % grid.rows, column = task / grid.rows;
    const int64_t firstTile = row * tiles / grid.rows, endTile = (row + 1) * tiles / grid.rows;
    const int64_t firstPanel = column * panels / grid.columns, endPanel = (column + 1) * panels / grid.columns;
    float* const copied = reinterpret_cast<float*>(context.scratch) + worker * perWorker;
    float* const sums = copied + copiedPart;
    for (int64_t first = 0; first < k; first += kc) {
      // A task may take long; an abort must not.
      if (context.pool.cancelled()) return;
      const int64_t length = smaller(kc, k - first);
      // What this thread will copy next: the next k block, or the first of the task that it will get if all are equally fast.
      const bool last = first + length == k;
      const int64_t nextRow = last ? (task + context.pool.threads()) % grid.rows : row;
      const int64_t nextTile = nextRow * tiles / grid.rows, nextEnd = (nextRow + 1) * tiles / grid.rows;
      const int64_t nextFirst = last ? 0 : first + length;
      const int64_t ahead = smaller(kNext, ceilDiv(kMr, endPanel - firstPanel));
      for (int64_t tile = firstTile; tile < endTile; tile++)
        p.copyRows(p.source, rowOf(tile), static_cast<int>(rowOf(tile + 1) - rowOf(tile)), first, length,
                   copied + (tile - firstTile) * kMr * kStride, kStride);
      for (int64_t panel = firstPanel; panel < endPanel; panel++) {
        const int64_t j = panel * kNr;
        const int columns = static_cast<int>(smaller(kNr, n - j));
        Tile t;
        t.b = weight + first * panels * kNr + panel * length * kNr;
        t.kc = length;
        t.columns = columns;
        t.first = first == 0;
        t.last = last;
        t.bias = p.bias != nullptr ? p.bias + j : nullptr;
        t.activation = p.activation;
        t.ldr = p.ldr;
        t.ldy = p.ldy;
        for (int64_t tile = firstTile; tile < endTile; tile++) {
          const int64_t i = rowOf(tile);
          t.rows = static_cast<int>(rowOf(tile + 1) - i);
          t.a = copied + (tile - firstTile) * kMr * kStride;
          t.sums = sums + ((panel - firstPanel) * (endTile - firstTile) + tile - firstTile) * kMr * kNr;
          t.rowBias = p.rowBias != nullptr ? p.rowBias + tile / groupTiles * p.ldRowBias + j : nullptr;
          t.residual = p.residual != nullptr ? p.residual + i * p.ldr + j : nullptr;
          t.y = p.y + i * p.ldy + j;
          const int64_t next = nextTile + tile - firstTile;
          const int64_t nextHeight = next < nextEnd ? rowOf(next + 1) - rowOf(next) : 0;
          for (int64_t r = 0; r < kNext; r++) {
            const int64_t at = (panel - firstPanel) * ahead + r;
            t.next[r] = r < ahead && at < nextHeight ? p.rowAddress(p.source, rowOf(next) + at, nextFirst) : t.a;
          }
          kernels[(columns - 1) / kVf][t.rows - 1](t);
        }
      }
    }
  });
}

inline void copyLinearRows(const void* source, int64_t row, int rows, int64_t first, int64_t count, float* to, int64_t stride) {
  const LinearArgs& l = *static_cast<const LinearArgs*>(source);
  const float* from = static_cast<const float*>(l.x) + row * l.ldx + first;
  for (int r = 0; r < rows; r++, from += l.ldx, to += stride) {
    int64_t i = 0;
    for (; i + kVf <= count; i += kVf) vstore(to + i, vload(from + i));
    for (; i < count; i++) to[i] = from[i];
  }
}

inline const float* linearRow(const void* source, int64_t row, int64_t first) {
  const LinearArgs& l = *static_cast<const LinearArgs*>(source);
  return static_cast<const float*>(l.x) + row * l.ldx + first;
}

inline Product productOf(const LinearArgs& l) {
  return {1, l.m, l.shape, l.weight, &copyLinearRows, &linearRow, &l, l.bias, nullptr, 0, l.activation,
          static_cast<const float*>(l.residual), l.ldr, static_cast<float*>(l.y), l.ldy};
}

void linear(const LinearArgs& l, KernelContext& context) noexcept { product(productOf(l), context); }
size_t linearScratch(const LinearArgs& l, int threads) noexcept { return productScratch(productOf(l), threads); }

}  // namespace asdm::cpu::ASDM_SET

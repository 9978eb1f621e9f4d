// The blocked product of bytes, for every set. Include after pack.inc.h, with kMaxTiles and kMaxPanels defined, the most tiles and
// panels of one task: the tiles' copied rows should fill about half of the second-level cache. Where k is one block, and no sums have
// to be kept, a task may span kLongTask times as many panels.
#pragma once

namespace asdm::cpu::ASDM_SET::int8 {

// At most about 10 ms of work between two looks for an abort, on the slowest set.
constexpr int64_t kLongTask = 4;

// A product whose left rows come from a callback. Rows form groups (samples) of equal size; a tile never straddles two.
struct Product {
  int64_t groups, groupRows;
  WeightShape shape;
  const void* weight;
  // Copies u[row + i, first : first + count] to `to + i * kStride` for i < rows, each as u - kLeftOffset; rows are of one group.
  void (*copyRows)(const void* source, int64_t row, int rows, int64_t first, int64_t count, Left* to);
  const void* source;
  const Quant* quants;  // one for each row, or each group
  bool quantPerRow;
  Epilogue<Bf16> out;
  bool gated = false;  // as LinearArgs::gated
};

ASDM_INLINE int64_t tilesOf(const Product& p) { return p.groups * ceilDiv(p.groupRows, kMr); }

// A worker's scratch: the copied rows of its task's tiles, then the sums of all its tiles between k blocks, or of those that wait for their
// gates.
ASDM_INLINE int64_t copiedBytes(const Product& p) {
  return smaller(tilesOf(p), kMaxTiles) * kMr * kStride * static_cast<int64_t>(sizeof(Left));
}
ASDM_INLINE int64_t workerBytes(const Product& p) {
  const bool several = p.shape.k() > blockLength(p.shape.k());
  const int64_t panels = several ? smaller(ceilDiv(p.shape.n, kNr), kMaxPanels) : p.gated ? 1 : 0;
  return copiedBytes(p) + smaller(tilesOf(p), kMaxTiles) * panels * kMr * kNr * static_cast<int64_t>(sizeof(int32_t));
}

inline void product(const Product& p, std::byte* scratch, ThreadPool& pool) {
  const TileKernels<Tile> kernels;
  const int64_t k = p.shape.k(), n = p.shape.n, kc = blockLength(k), panels = ceilDiv(n, kNr);
  const int64_t parts = p.gated ? 2 : 1, wide = panels / parts;  // as in gemm/gemm.inc.h
  const int64_t groupTiles = ceilDiv(p.groupRows, kMr), tiles = tilesOf(p);
  const Grid grid = chooseGrid(tiles, wide, ceilDiv(k, kSlot), kMr, static_cast<int>(kNv * parts), kVf, kMaxTiles,
                               (k > kc ? kMaxPanels : kLongTask * kMaxPanels) / parts, pool.threads(), 0.3, kRate);
  const auto* weight = static_cast<const int8_t*>(p.weight);
  const auto* scales = reinterpret_cast<const float*>(weight + scalesAt(p.shape));
  const auto* weightSums = reinterpret_cast<const int32_t*>(scales + panels * kNr);
  const int64_t perWorker = workerBytes(p), copiedPart = copiedBytes(p);
  const auto rowOf = [&](int64_t tile) { return tile / groupTiles * p.groupRows + tileRow(tile % groupTiles, groupTiles, p.groupRows); };

  pool.run(grid.rows * grid.columns, [&](int64_t task, int worker) {
    const auto [row, column] = grid.placeOf(task, pool.threads());
    const int64_t firstTile = row * tiles / grid.rows, endTile = (row + 1) * tiles / grid.rows;
    const int64_t firstPanel = column * wide / grid.columns, turns = ((column + 1) * wide / grid.columns - firstPanel) * parts;
    auto* const copied = reinterpret_cast<Left*>(scratch + worker * perWorker);
    auto* const sums = reinterpret_cast<int32_t*>(scratch + worker * perWorker + copiedPart);
    TileState state;
    for (int64_t first = 0; first < k; first += kc) {
      // A task may take long; an abort must not.
      if (pool.cancelled()) return;
      const int64_t length = smaller(kc, k - first), slots = wholeSlots(length) / kSlot;
      for (int64_t tile = firstTile; tile < endTile; tile++) {
        const int rows = static_cast<int>(rowOf(tile + 1) - rowOf(tile));
        Left* const to = copied + (tile - firstTile) * kMr * kStride;
        p.copyRows(p.source, rowOf(tile), rows, first, length, to);
        for (int64_t i = length; i < slots * kSlot; i++)
          for (int r = 0; r < rows; r++) to[r * kStride + i] = 0;  // meets zeros among the weights
      }
      for (int64_t turn = 0; turn < turns; turn++) {
        const bool gates = turn % parts == 1;
        const int64_t j = (firstPanel + turn / parts) * kNr, panel = firstPanel + turn / parts + (gates ? wide : 0);
        Tile t;
        t.b = weight + first * panels * kNr + panel * slots * kSlot * kNr;
        t.steps = slots;
        t.later = slots * kSlot * kNr * (gates ? 1 - wide : p.gated ? wide : 1);
        t.columns = static_cast<int>(smaller(kNr, n - panel * kNr));
        t.first = first == 0;
        t.last = first + length == k && (gates || !p.gated);
        t.quantStep = p.quantPerRow ? 1 : 0;
        t.scales = scales + panel * kNr;
        t.weightSums = weightSums + panel * kNr;
        t.gatedBy = wide * kNr;
        t.places = static_cast<int>(endTile - firstTile);
        for (int64_t tile = firstTile; tile < endTile; tile++) {
          const int64_t i = rowOf(tile), group = tile / groupTiles;
          t.rows = static_cast<int>(rowOf(tile + 1) - i);
          t.place = static_cast<int>(tile - firstTile);
          t.a = copied + (tile - firstTile) * kMr * kStride;
          const auto sumsOf = [&](int64_t at) { return sums + (at * (endTile - firstTile) + tile - firstTile) * kMr * kNr; };
          t.sums = sumsOf(k > kc ? turn : 0);
          t.gated = gates && t.last ? sumsOf(k > kc ? turn - 1 : 0) : nullptr;
          t.quants = p.quants + (p.quantPerRow ? i : group);
          t.out = epilogueAt(p.out, group, i, j);
          kernels.run(t, state);
        }
      }
    }
  });
}

// from null: zeros, which are `zero`.
ASDM_INLINE void copyBytes(const uint8_t* from, int64_t count, uint8_t zero, Left* to) {
  if constexpr (sizeof(Left) == 1 && kLeftOffset == 0) {
    if (from != nullptr) std::memcpy(to, from, static_cast<size_t>(count));
    else std::memset(to, zero, static_cast<size_t>(count));
  } else if (from != nullptr) {
    for (int64_t i = 0; i < count; i++) to[i] = static_cast<Left>(from[i] - kLeftOffset);
  } else {
    for (int64_t i = 0; i < count; i++) to[i] = static_cast<Left>(zero - kLeftOffset);
  }
}

ASDM_INLINE int64_t wholeLines(int64_t bytes) { return ceilDiv(bytes, 64) * 64; }

// Scratch: the workers' parts, the quantised left side, its quants, ranges of a sample's runs.
struct Parts {
  int64_t bytes, quants, ranges, all;
};
inline Parts partsOf(const Product& p, int threads, int64_t elements, int64_t quants, int64_t ranges) {
  Parts parts;
  parts.bytes = wholeLines(threads * wholeLines(workerBytes(p)));
  parts.quants = parts.bytes + wholeLines(elements);
  parts.ranges = parts.quants + wholeLines(quants * static_cast<int64_t>(sizeof(Quant)));
  parts.all = parts.ranges + wholeLines(ranges * static_cast<int64_t>(sizeof(Range)));
  return parts;
}

struct DenseRows {
  const uint8_t* bytes;
  int64_t width;
};

inline void copyDenseRows(const void* source, int64_t row, int rows, int64_t first, int64_t count, Left* to) {
  const DenseRows& d = *static_cast<const DenseRows*>(source);
  for (int r = 0; r < rows; r++) copyBytes(d.bytes + (row + r) * d.width + first, count, 0, to + r * kStride);
}

inline Product productOf(const LinearArgs& l) {
  return {1, l.m, l.shape, l.weight, &copyDenseRows, nullptr, nullptr, true, epilogueOf<Bf16>(l), l.gated};
}

size_t linearScratch(const LinearArgs& l, int threads) noexcept {
  return static_cast<size_t>(partsOf(productOf(l), threads, l.m * l.shape.k(), l.m, 0).all);
}

void linear(const LinearArgs& l, KernelContext& context) noexcept {
  Product p = productOf(l);
  const Parts parts = partsOf(p, context.pool.threads(), l.m * l.shape.k(), l.m, 0);
  auto* const bytes = reinterpret_cast<uint8_t*>(context.scratch + parts.bytes);
  auto* const quants = reinterpret_cast<Quant*>(context.scratch + parts.quants);
  quantizeRows(static_cast<const uint16_t*>(l.x), l.m, l.shape.k(), l.ldx, bytes, quants, context.pool);
  const DenseRows rows{bytes, l.shape.k()};
  p.source = &rows;
  p.quants = quants;
  product(p, context.scratch, context.pool);
}

}  // namespace asdm::cpu::ASDM_SET::int8

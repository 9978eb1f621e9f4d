// The blocked product, for every set. Include after tile.inc.h and pack.inc.h, with kMaxTiles and kMaxPanels defined,
// the most tiles and panels of one task: the tiles' copied rows should fill about half of the second-level cache.
#pragma once

#include "cpu/gemm/mix.inc.h"

namespace asdm::cpu::ASDM_SET {

template <class E>
ASDM_INLINE int64_t tilesOf(const Product<E>& p) {
  return p.groups * ceilDiv(p.groupRows, kMr);
}

// With mixed weights a task spans more tiles than the second-level cache holds, since more of them share a panel's mixing: the copied
// rows then come from the third level, at a few bytes a cycle.
template <class E>
ASDM_INLINE bool mixes(const Product<E>& p) {
  return p.mixture != nullptr && !p.mixture->whole;
}
template <class E>
ASDM_INLINE int64_t mostTiles(const Product<E>& p) {
  return smaller(tilesOf(p), mixes(p) ? kMixTiles : kMaxTiles);
}

// A worker's scratch: the copied rows of its task's tiles, then the sums of all its tiles between k blocks, or of those that wait for their
// gates, then mixed panels of as many groups as its tiles may belong to.
template <class E>
ASDM_INLINE int64_t copiedBytes(const Product<E>& p) {
  return mostTiles(p) * kMr * kStride * static_cast<int64_t>(sizeof(Left));
}
template <class E>
ASDM_INLINE int64_t sumBytes(const Product<E>& p) {
  const bool several = stepsOf(p.shape) > blockLength(stepsOf(p.shape));
  const int64_t panels = several ? smaller(ceilDiv(p.shape.n, kNr), kMaxPanels) : p.gated ? 1 : 0;
  return mostTiles(p) * panels * kMr * kNr * static_cast<int64_t>(sizeof(float));
}
template <class E>
ASDM_INLINE int64_t workerBytes(const Product<E>& p) {
  const int64_t mixed = mixes(p) ? smaller(p.groups, kMixTiles) * kKc * kStep : 0;
  return copiedBytes(p) + sumBytes(p) + mixed * static_cast<int64_t>(sizeof(E));
}

template <class E>
size_t productScratch(const Product<E>& p, int threads) noexcept {
  return static_cast<size_t>(threads * workerBytes(p));
}

template <class E>
void product(const Product<E>& p, KernelContext& context) noexcept {
  const TileKernels<Tile<E>> kernels;
  const int64_t k = p.shape.k(), steps = stepsOf(p.shape), n = p.shape.n, kc = blockLength(steps), panels = ceilDiv(n, kNr);
  // A panel of results takes two of weights where there are gates: that of what they gate, then theirs, `wide` panels behind it.
  const int64_t parts = p.gated ? 2 : 1, wide = panels / parts;
  const int64_t groupTiles = ceilDiv(p.groupRows, kMr), tiles = tilesOf(p);
  const Mixture* const m = p.mixture;
  // Of each expert a vector is loaded once, from the second level or beyond, and multiplied for each group.
  const double weightCost = mixes(p) ? 0.3 + static_cast<double>(m->count * (2 + smaller(p.groups, 2))) / kVf : 0.3;
  const Grid grid = chooseGrid(tiles, wide, steps, kMr, static_cast<int>(kNv * parts), kVf, mostTiles(p),
                               steps > kc ? kMaxPanels / parts : wide, context.pool.threads(), weightCost, kRate);
  const E* const weight = static_cast<const E*>(p.weight);
  const int64_t perWorker = workerBytes(p), copiedPart = copiedBytes(p);
  const auto rowOf = [&](int64_t tile) { return tile / groupTiles * p.groupRows + tileRow(tile % groupTiles, groupTiles, p.groupRows); };

  context.pool.run(grid.rows * grid.columns, [&](int64_t task, int worker) {
    const auto [row, column] = grid.placeOf(task, context.pool.threads());
    const int64_t firstTile = row * tiles / grid.rows, endTile = (row + 1) * tiles / grid.rows;
    const int64_t firstPanel = column * wide / grid.columns, turns = ((column + 1) * wide / grid.columns - firstPanel) * parts;
    Left* const copied = reinterpret_cast<Left*>(context.scratch + worker * perWorker);
    float* const sums = reinterpret_cast<float*>(context.scratch + worker * perWorker + copiedPart);
    const int64_t firstGroup = firstTile / groupTiles, groups = (endTile - 1) / groupTiles + 1 - firstGroup;
    E* const buffers = reinterpret_cast<E*>(context.scratch + worker * perWorker + copiedPart + sumBytes(p));
    FetchAhead<kMaxExperts> fetch;
    TileState state;
    for (int64_t first = 0; first < steps; first += kc) {
      // A task may take long; an abort must not.
      if (context.pool.cancelled()) return;
      const int64_t length = smaller(kc, steps - first), elements = smaller(length * kGroup, k - first * kGroup);
      // What this thread will copy next: the next k block, or the first of the next task.
      const bool last = first + length == steps;
      const int64_t nextRow = last && task + 1 < grid.rows * grid.columns ? grid.placeOf(task + 1, context.pool.threads()).row : row;
      const int64_t nextTile = nextRow * tiles / grid.rows, nextEnd = (nextRow + 1) * tiles / grid.rows;
      const int64_t nextFirst = last ? 0 : first + length;
      const int64_t ahead = smaller(kNext, ceilDiv(kMr, turns));
      for (int64_t tile = firstTile; tile < endTile; tile++) {
        const int rows = static_cast<int>(rowOf(tile + 1) - rowOf(tile));
        Left* const to = copied + (tile - firstTile) * kMr * kStride;
        p.copyRows(p.source, rowOf(tile), rows, first * kGroup, elements, to, kStride);
        for (int64_t at = elements; at < length * kGroup; at++)  // a last step that is not full
          for (int r = 0; r < rows; r++) to[r * kStride + at] = Left{};
      }
      for (int64_t turn = 0; turn < turns; turn++) {
        const bool gates = turn % parts == 1;
        const int64_t j = (firstPanel + turn / parts) * kNr, panel = firstPanel + turn / parts + (gates ? wide : 0);
        const int64_t packedAt = (first * panels + panel * length) * kStep;
        const E* mixed[kMixTiles];
        fetch.begin();
        if (m != nullptr) {
          if (context.pool.cancelled()) return;
          // Meanwhile the next panel of the experts is fetched, before rows are.
          for (int64_t e = 0; e < m->count && !m->whole && turn + 1 < turns; e++)
            fetch.add(static_cast<const std::byte*>(m->experts) + static_cast<size_t>(e) * m->distance +
                      static_cast<size_t>(packedAt + length * kStep) * sizeof(E));
          fetch.spread(length * kStep * static_cast<int64_t>(sizeof(E)), length * kNextStep, endTile - firstTile);
          mixPanels<E>(*m, firstGroup, groups, packedAt, length * kStep, buffers, mixed);
        }
        Tile<E> t;
        t.b = weight + packedAt;
        t.steps = length;
        t.later = length * kStep * (gates ? 1 - wide : p.gated ? wide : 1);
        t.columns = static_cast<int>(smaller(kNr, n - panel * kNr));
        t.first = first == 0;
        t.last = last && (gates || !p.gated);
        t.gatedBy = wide * kNr;
        t.places = static_cast<int>(endTile - firstTile);
        for (int64_t tile = firstTile; tile < endTile; tile++) {
          const int64_t i = rowOf(tile), group = tile / groupTiles;
          t.rows = static_cast<int>(rowOf(tile + 1) - i);
          t.place = static_cast<int>(tile - firstTile);
          t.a = copied + (tile - firstTile) * kMr * kStride;
          const auto sumsOf = [&](int64_t at) { return sums + (at * (endTile - firstTile) + tile - firstTile) * kMr * kNr; };
          t.sums = sumsOf(steps > kc ? turn : 0);
          t.gated = gates && last ? sumsOf(steps > kc ? turn - 1 : 0) : nullptr;
          t.out = epilogueAt(p.out, group, i, j);
          if (m != nullptr) {
            t.b = mixed[group - firstGroup];
            t.out.bias = m->bias != nullptr ? m->bias + group * n + j : nullptr;
          }
          if (fetch.left()) {
            t.nextStep = kNextStep;
            fetch.take(t.a, t.next);
            kernels.run(t, state);
            continue;
          }
          t.nextStep = Tile<E>{}.nextStep;
          const int64_t next = nextTile + tile - firstTile;
          const int64_t nextHeight = next < nextEnd ? rowOf(next + 1) - rowOf(next) : 0;
          for (int64_t r = 0; r < kNext; r++) {
            const int64_t at = turn * ahead + r;
            t.next[r] = r < ahead && at < nextHeight ? p.rowAddress(p.source, rowOf(next) + at, nextFirst * kGroup) : t.a;
          }
          kernels.run(t, state);
        }
      }
    }
  });
}

template <class E>
void copyLinearRows(const void* source, int64_t row, int rows, int64_t first, int64_t count, void* to, int64_t stride) {
  const LinearArgs& l = *static_cast<const LinearArgs*>(source);
  const E* from = static_cast<const E*>(l.x) + row * l.ldx + first;
  for (int r = 0; r < rows; r++, from += l.ldx) copyRun(from, count, static_cast<Left*>(to) + r * stride);
}

template <class E>
const void* linearRow(const void* source, int64_t row, int64_t first) {
  const LinearArgs& l = *static_cast<const LinearArgs*>(source);
  return static_cast<const E*>(l.x) + row * l.ldx + first;
}

template <class E>
inline Product<E> productOf(const LinearArgs& l) {
  return {1, l.m, l.shape, l.weight, &copyLinearRows<E>, &linearRow<E>, &l, epilogueOf<E>(l), nullptr, l.gated};
}

template <class E>
void linear(const LinearArgs& l, KernelContext& context) noexcept {
  product<E>(productOf<E>(l), context);
}
template <class E>
size_t linearScratch(const LinearArgs& l, int threads) noexcept {
  return productScratch<E>(productOf<E>(l), threads);
}

}  // namespace asdm::cpu::ASDM_SET

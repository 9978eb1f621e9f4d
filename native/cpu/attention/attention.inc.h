// Driver: packs keys and values once per head, then runs query tiles in parallel. Include after state.inc.h and transpose.inc.h. What
// it is given as Products multiplies: FloatProducts (tiles.inc.h), PairProducts
// (pair_products.inc.h) or TileProducts (tile_products.inc.h).
#pragma once

namespace asdm::cpu::ASDM_SET {

constexpr int kTileWidth = kMaxVectors * kVf;  // queries per tile
constexpr int kMaxTiles = 8;                   // tiles per task
// Tiles of a task share each block of keys while it is in the second-level cache, where their states have to fit too.
constexpr int64_t kTaskStateFloats = 100 * 1024;
// Multiply-adds per task: some 10 ms at a core's peak for the set (kCoreMacs per ms), so that a cancel is seen soon.
constexpr int64_t kTaskMacs = 10 * kCoreMacs;

// Multiply-adds of the scores below which one thread computes all heads.
constexpr int64_t kSharedMacs = 100'000;

// Where everything lies; sizes of whole cache lines.
struct AttentionPlan {
  int64_t keyTiles, pairedDim, paddedDim;
  int64_t headK, headV;            // packed elements per head
  int64_t queryTiles;              // per head
  int64_t tilesPerTask, tasksPerHead;
  int64_t queryFloats, tileFloats, workerFloats;
  int64_t heads;                   // over all samples
};

ASDM_INLINE int64_t roundUp(int64_t n, int64_t unit) { return ceilDiv(n, unit) * unit; }

template <class Products>
ASDM_INLINE AttentionPlan attentionPlan(const AttentionArgs& a, int threads) {
  AttentionPlan plan;
  plan.heads = a.batch * a.heads;
  plan.keyTiles = ceilDiv(a.kLength, kKeyTile);
  plan.pairedDim = roundUp(a.headDim, Products::kPair);
  plan.paddedDim = roundUp(a.headDim, kValueTile);
  plan.headK = roundUp(plan.keyTiles * kKeyTile * plan.pairedDim, 32);
  plan.headV = roundUp(roundUp(a.kLength, Products::kPair) * plan.paddedDim, 32);
  plan.queryTiles = ceilDiv(a.qLength, kTileWidth);
  plan.queryFloats = roundUp(plan.pairedDim * kTileWidth * static_cast<int64_t>(sizeof(typename Products::Packed)) / 4, 16);
  plan.tileFloats = plan.queryFloats + roundUp((plan.paddedDim + 3) * kTileWidth, 16);
  int64_t tiles = smaller(kTaskStateFloats / plan.tileFloats, kTaskMacs / (2 * kTileWidth * a.headDim * a.kLength));
  // At least some four tasks per thread, for balance. Results don't depend on which tiles share a task.
  tiles = smaller(tiles, plan.heads * plan.queryTiles / (4 * threads));
  plan.tilesPerTask = larger(1, smaller(tiles, kMaxTiles));
  plan.tasksPerHead = ceilDiv(plan.queryTiles, plan.tilesPerTask);
  plan.workerFloats = plan.tilesPerTask * plan.tileFloats + Products::kBlock * kTileWidth;
  return plan;
}

template <class Products>
ASDM_INLINE size_t scratchOf(const AttentionArgs& a, int threads) {
  const AttentionPlan plan = attentionPlan<Products>(a, threads);
  return static_cast<size_t>(plan.heads * (plan.headK + plan.headV)) * sizeof(typename Products::Packed) +
         static_cast<size_t>(threads * plan.workerFloats) * sizeof(float);
}

template <class Products>
ASDM_INLINE void attend(const AttentionArgs& a, KernelContext& context) {
  using Element = typename Products::Element;
  using Packed = typename Products::Packed;
  constexpr int64_t kBlock = Products::kBlock;
  const AttentionPlan plan = attentionPlan<Products>(a, context.pool.threads());
  Packed* packedK = reinterpret_cast<Packed*>(context.scratch);
  Packed* packedV = packedK + plan.heads * plan.headK;
  float* workers = reinterpret_cast<float*>(packedV + plan.heads * plan.headV);

  constexpr int64_t kPackKeys = 512;
  const int64_t packsPerHead = ceilDiv(a.kLength, kPackKeys);
  const auto pack = [&](int64_t task, int) {
    const int64_t head = task / packsPerHead, first = task % packsPerHead * kPackKeys;
    const int64_t row = head / a.heads * a.kLength, column = head % a.heads * a.headDim;
    Products::pack(a, static_cast<const Element*>(a.k) + row * a.ldk + column, static_cast<const Element*>(a.v) + row * a.ldv + column,
                   first, smaller(kPackKeys, a.kLength - first), packedK + head * plan.headK, packedV + head * plan.headV, plan.paddedDim);
  };
  // Little is packed, or little multiplied, in less time than it takes to share it.
  if (plan.heads * a.kLength * a.headDim < kSharedElements) context.pool.runHere(plan.heads * packsPerHead, pack);
  else context.pool.run(plan.heads * packsPerHead, pack);

  // A negative scale is moved into the queries, so that larger scores have larger weights.
  const bool negative = a.scale < 0.0f;
  const float c = static_cast<float>(1.4426950408889634 * static_cast<double>(negative ? -a.scale : a.scale));
  const auto compute = [&](int64_t task, int worker) {
    const int64_t head = task / plan.tasksPerHead, firstTile = task % plan.tasksPerHead * plan.tilesPerTask;
    const int64_t tiles = smaller(plan.tilesPerTask, plan.queryTiles - firstTile);
    const int64_t firstRow = head / a.heads * a.qLength, column = head % a.heads * a.headDim;
    const Element* q = static_cast<const Element*>(a.q) + firstRow * a.ldq + column;
    Element* o = static_cast<Element*>(a.o) + firstRow * a.ldo + column;
    float* state = workers + worker * plan.workerFloats;

    QueryTile<Packed> tile[kMaxTiles];
    for (int64_t t = 0; t < tiles; t++) {
      const int64_t query = (firstTile + t) * kTileWidth, rows = smaller(kTileWidth, a.qLength - query);
      float* at = state + t * plan.tileFloats;
      tile[t].qt = reinterpret_cast<Packed*>(at);
      tile[t].ref = at + plan.queryFloats;
      tile[t].sum = tile[t].ref + kTileWidth;
      tile[t].alpha = tile[t].sum + kTileWidth;
      tile[t].o = tile[t].alpha + kTileWidth;
      tile[t].scores = state + plan.tilesPerTask * plan.tileFloats;
      for (int i = 0; i < kTileWidth; i++) {
        tile[t].ref[i] = -std::numeric_limits<float>::max();
        tile[t].sum[i] = 0.0f;
      }
      Products::load(q + query * a.ldq, a.ldq, rows, a.headDim, roundUp(rows, kVf), negative, tile[t].qt);
    }

    const int64_t lastQuery = smaller(a.qLength, (firstTile + tiles) * kTileWidth);
    const int64_t keys = a.causal ? lastQuery : a.kLength;
    for (int64_t first = 0; first < keys; first += kBlock) {
      // A block of a long head takes up to some ms; a cancelled result is thrown away.
      if (context.pool.cancelled()) return;
      KeyBlock<Packed> block;
      block.k = packedK + head * plan.headK + first * plan.pairedDim;
      block.v = packedV + head * plan.headV + first * plan.paddedDim;
      const int64_t left = smaller(kBlock, a.kLength - first);
      block.stored = static_cast<int>(roundUp(left, Products::kPair));
      block.first = first == 0;
      for (int64_t t = 0; t < tiles; t++) {
        const int64_t query = (firstTile + t) * kTileWidth, rows = smaller(kTileWidth, a.qLength - query);
        block.keys = static_cast<int>(left);
        block.diagonal = -kBlock;
        if (a.causal) {
          if (query + rows <= first) continue;
          block.keys = static_cast<int>(smaller(left, query + rows - first));
          block.diagonal = first - query;
        }
        switch (ceilDiv(rows, kVf)) {
          case 1: Products::template step<1>(tile[t], block, a.headDim, c); break;
          case 2: Products::template step<2>(tile[t], block, a.headDim, c); break;
          default: Products::template step<kMaxVectors>(tile[t], block, a.headDim, c);
        }
      }
    }

    for (int64_t t = 0; t < tiles; t++) {
      const int64_t query = (firstTile + t) * kTileWidth, rows = smaller(kTileWidth, a.qLength - query);
      storeOutputs(tile[t].o, tile[t].sum, rows, a.headDim, roundUp(rows, kVf), o + query * a.ldo, a.ldo);
    }
  };
  if (plan.heads * a.qLength * a.kLength * a.headDim < kSharedMacs) context.pool.runHere(plan.heads * plan.tasksPerHead, compute);
  else context.pool.run(plan.heads * plan.tasksPerHead, compute);
}

}  // namespace asdm::cpu::ASDM_SET

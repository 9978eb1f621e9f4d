// Driver: packs keys and values once per head, then runs query tiles in parallel. Include after tiles.inc.h and transpose.inc.h.
#pragma once

namespace asdm::cpu::ASDM_SET {

constexpr int kTileWidth = kMaxVectors * kVf;  // queries per tile
constexpr int kMaxTiles = 8;                   // tiles per task
// Tiles of a task share each block of keys while it is in the second-level cache, where their states have to fit too.
constexpr int64_t kTaskStateFloats = 100 * 1024;
// Multiply-adds per task: some 10 ms at a core's peak for the set (kCoreMacs per ms), so that a cancel is seen soon.
constexpr int64_t kTaskMacs = 10 * kCoreMacs;

// Where everything lies; offsets and sizes in floats, all multiples of 16.
struct AttentionPlan {
  int64_t keyTiles, paddedDim;
  int64_t headK, headV;            // packed floats per head
  int64_t queryTiles;              // per head
  int64_t tilesPerTask, tasksPerHead;
  int64_t tileFloats, workerFloats;
  int64_t heads;                   // over all samples
};

ASDM_INLINE int64_t round16(int64_t n) { return ceilDiv(n, 16) * 16; }
ASDM_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
ASDM_INLINE int64_t larger(int64_t a, int64_t b) { return a < b ? b : a; }

ASDM_INLINE AttentionPlan attentionPlan(const AttentionArgs& a, int threads) {
  AttentionPlan plan;
  plan.heads = a.batch * a.heads;
  plan.keyTiles = ceilDiv(a.kLength, kKeyTile);
  plan.paddedDim = ceilDiv(a.headDim, kValueTile) * kValueTile;
  plan.headK = round16(plan.keyTiles * kKeyTile * a.headDim);
  plan.headV = round16(a.kLength * plan.paddedDim);
  plan.queryTiles = ceilDiv(a.qLength, kTileWidth);
  plan.tileFloats = round16((a.headDim + plan.paddedDim + 3) * kTileWidth);
  int64_t tiles = smaller(kTaskStateFloats / plan.tileFloats, kTaskMacs / (2 * kTileWidth * a.headDim * a.kLength));
  // At least some four tasks per thread, for balance. Results don't depend on which tiles share a task.
  tiles = smaller(tiles, plan.heads * plan.queryTiles / (4 * threads));
  plan.tilesPerTask = larger(1, smaller(tiles, kMaxTiles));
  plan.tasksPerHead = ceilDiv(plan.queryTiles, plan.tilesPerTask);
  plan.workerFloats = plan.tilesPerTask * plan.tileFloats + kKeyBlock * kTileWidth;
  return plan;
}

// Copies keys first..first+count-1 of a head (first a multiple of kKeyBlock) to score panels [tile][headDim][kKeyTile], zeros behind
// the last key, and values to blocks [kKeyBlock keys][column tile][key][kValueTile], zeros right of the last column.
ASDM_INLINE void packKeys(const AttentionArgs& a, const float* k, const float* v, int64_t first, int64_t count, float* kOut,
                          float* vOut, int64_t paddedDim) {
  for (int64_t tile = 0; tile < count; tile += kKeyTile) {
    float* out = kOut + (first + tile) * a.headDim;
    for (int i = 0; i < kKeyTile; i++) {
      const float* in = k + (first + tile + i) * a.ldk;
      const bool there = tile + i < count;
      for (int64_t dim = 0; dim < a.headDim; dim++) out[dim * kKeyTile + i] = there ? in[dim] : 0.0f;
    }
  }
  for (int64_t block = 0; block < count; block += kKeyBlock) {
    const int64_t stored = smaller(kKeyBlock, count - block);
    float* out = vOut + (first + block) * paddedDim;
    for (int64_t key = 0; key < stored; key++) {
      const float* in = v + (first + block + key) * a.ldv;
      for (int64_t j = 0; j < paddedDim; j += kValueTile) {
        float* to = out + j * stored + key * kValueTile;
        for (int i = 0; i < kValueTile; i++) to[i] = j + i < a.headDim ? in[j + i] : 0.0f;
      }
    }
  }
}

size_t attentionScratch(const AttentionArgs& a, int threads) noexcept {
  const AttentionPlan plan = attentionPlan(a, threads);
  return static_cast<size_t>(plan.heads * (plan.headK + plan.headV) + threads * plan.workerFloats) * sizeof(float);
}

void attention(const AttentionArgs& a, KernelContext& context) noexcept {
  const AttentionPlan plan = attentionPlan(a, context.pool.threads());
  float* packedK = reinterpret_cast<float*>(context.scratch);
  float* packedV = packedK + plan.heads * plan.headK;
  float* workers = packedV + plan.heads * plan.headV;

  constexpr int64_t kPackKeys = 4 * kKeyBlock;
  const int64_t packsPerHead = ceilDiv(a.kLength, kPackKeys);
  context.pool.run(plan.heads * packsPerHead, [&](int64_t task, int) {
    const int64_t head = task / packsPerHead, first = task % packsPerHead * kPackKeys;
    const int64_t row = head / a.heads * a.kLength, column = head % a.heads * a.headDim;
    packKeys(a, static_cast<const float*>(a.k) + row * a.ldk + column, static_cast<const float*>(a.v) + row * a.ldv + column, first, smaller(kPackKeys, a.kLength - first),
             packedK + head * plan.headK, packedV + head * plan.headV, plan.paddedDim);
  });

  // A negative scale is moved into the queries, so that larger scores have larger weights.
  const float sign = a.scale < 0.0f ? -1.0f : 1.0f;
  const float c = static_cast<float>(1.4426950408889634 * static_cast<double>(sign * a.scale));
  context.pool.run(plan.heads * plan.tasksPerHead, [&](int64_t task, int worker) {
    const int64_t head = task / plan.tasksPerHead, firstTile = task % plan.tasksPerHead * plan.tilesPerTask;
    const int64_t tiles = smaller(plan.tilesPerTask, plan.queryTiles - firstTile);
    const int64_t firstRow = head / a.heads * a.qLength, column = head % a.heads * a.headDim;
    const float* q = static_cast<const float*>(a.q) + firstRow * a.ldq + column;
    float* o = static_cast<float*>(a.o) + firstRow * a.ldo + column;
    float* state = workers + worker * plan.workerFloats;

    QueryTile tile[kMaxTiles];
    for (int64_t t = 0; t < tiles; t++) {
      const int64_t query = (firstTile + t) * kTileWidth, rows = smaller(kTileWidth, a.qLength - query);
      float* at = state + t * plan.tileFloats;
      tile[t].ref = at;
      tile[t].sum = at + kTileWidth;
      tile[t].alpha = at + 2 * kTileWidth;
      tile[t].qt = at + 3 * kTileWidth;
      tile[t].o = tile[t].qt + a.headDim * kTileWidth;
      tile[t].scores = state + plan.tilesPerTask * plan.tileFloats;
      for (int i = 0; i < kTileWidth; i++) {
        tile[t].ref[i] = -std::numeric_limits<float>::max();
        tile[t].sum[i] = 0.0f;
      }
      loadQueries(q + query * a.ldq, a.ldq, rows, a.headDim, ceilDiv(rows, kVf) * kVf, sign, tile[t].qt);
    }

    const int64_t lastQuery = smaller(a.qLength, (firstTile + tiles) * kTileWidth);
    const int64_t keys = a.causal ? lastQuery : a.kLength;
    for (int64_t first = 0; first < keys; first += kKeyBlock) {
      // A block of a long head takes up to some ms; a cancelled result is thrown away.
      if (context.pool.cancelled()) return;
      KeyBlock block;
      block.k = packedK + head * plan.headK + first * a.headDim;
      block.v = packedV + head * plan.headV + first * plan.paddedDim;
      block.stored = static_cast<int>(smaller(kKeyBlock, a.kLength - first));
      block.first = first == 0;
      for (int64_t t = 0; t < tiles; t++) {
        const int64_t query = (firstTile + t) * kTileWidth, rows = smaller(kTileWidth, a.qLength - query);
        block.keys = block.stored;
        block.diagonal = -kKeyBlock;
        if (a.causal) {
          if (query + rows <= first) continue;
          block.keys = static_cast<int>(smaller(block.stored, query + rows - first));
          block.diagonal = first - query;
        }
        switch (ceilDiv(rows, kVf)) {
          case 1: tileStep<1>(tile[t], block, a.headDim, c); break;
          case 2: tileStep<2>(tile[t], block, a.headDim, c); break;
          default: tileStep<kMaxVectors>(tile[t], block, a.headDim, c);
        }
      }
    }

    for (int64_t t = 0; t < tiles; t++) {
      const int64_t query = (firstTile + t) * kTileWidth, rows = smaller(kTileWidth, a.qLength - query);
      storeOutputs(tile[t].o, tile[t].sum, rows, a.headDim, ceilDiv(rows, kVf) * kVf, o + query * a.ldo, a.ldo);
    }
  });
}

}  // namespace asdm::cpu::ASDM_SET

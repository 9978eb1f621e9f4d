// Gradient of attention in float (AttentionGradientArgs in backend/training_arguments.h). Include after tiles.inc.h and attention.inc.h.
//
// With P = softmax(S), S = scale q k^T, and dP = dy v^T:  dS = P (dP - D), D the row sums of dy o;  dq = scale dS k,  dk = scale dS^T q,
// dv = P^T dy (FlashAttention, Dao et al. 2022, algorithm 4, in two walks instead of one, so that every result belongs to one task). First
// tiles of queries walk over blocks of keys, once for each row's reference and sum of weights, once for dq; then tiles of keys walk over blocks of queries.
// Lanes are queries in the first walk, keys in the second, and both multiply as the forward pass does (tiles.inc.h).
// Scratch: the matrices once more as score panels and value blocks, three numbers for each query, some hundred KB per thread.
#pragma once

namespace asdm::cpu::ASDM_SET {

constexpr int64_t kGradientBlock = FloatProducts<float>::kBlock;

// One matrix of all heads, packed as rows that lanes are multiplied by (panels) and that are summed by weights (values).
struct PackedHeads {
  float *panels, *values;
  int64_t panelFloats, valueFloats;  // per head
};

struct AttentionGradientPlan {
  int64_t heads, paddedDim, queryTiles, keyTiles, statFloats, workerFloats;
  PackedHeads q, k, v, dy;
  size_t bytes;
};

// Lays everything out from `scratch` on.
ASDM_INLINE AttentionGradientPlan attentionGradientPlan(const AttentionGradientArgs& g, int threads, std::byte* scratch) {
  const AttentionArgs& a = g.forward;
  AttentionGradientPlan plan{};
  plan.heads = a.batch * a.heads;
  plan.paddedDim = roundUp(a.headDim, kValueTile);
  plan.queryTiles = ceilDiv(a.qLength, kTileWidth);
  plan.keyTiles = ceilDiv(a.kLength, kTileWidth);
  plan.statFloats = 3 * plan.queryTiles * kTileWidth;
  plan.workerFloats = 4 * roundUp(plan.paddedDim * kTileWidth, 16) + 2 * kGradientBlock * kTileWidth + 4 * kTileWidth;
  int64_t floats = 0;
  const auto take = [&](int64_t count) {
    float* const here = scratch == nullptr ? nullptr : reinterpret_cast<float*>(scratch) + floats;
    floats += roundUp(count, 16);
    return here;
  };
  take(plan.heads * plan.statFloats + threads * plan.workerFloats);
  const auto lay = [&](PackedHeads& m, int64_t rows, bool panels, bool values) {
    m.panelFloats = roundUp(roundUp(rows, kKeyTile) * a.headDim, 16);
    m.valueFloats = roundUp(rows * plan.paddedDim, 16);
    m.panels = panels ? take(plan.heads * m.panelFloats) : nullptr;
    m.values = values ? take(plan.heads * m.valueFloats) : nullptr;
  };
  // The second walk reads queries and dy where the first reads keys and values. Its rows' statistics are the first walk's, which needs the keys in any case.
  const bool dq = g.queries, dkv = g.keys;
  lay(plan.k, a.kLength, true, dq);
  lay(plan.v, a.kLength, dq, false);
  lay(plan.q, a.qLength, dkv, dkv);
  lay(plan.dy, a.qLength, dkv, dkv);
  plan.bytes = static_cast<size_t>(floats) * sizeof(float);
  return plan;
}

size_t attentionGradientScratch(const AttentionGradientArgs& g, int threads) noexcept {
  return attentionGradientPlan(g, threads, nullptr).bytes;
}

ASDM_INLINE void packHeads(const AttentionArgs& a, const PackedHeads& m, const float* from, int64_t ld, int64_t rows, int64_t paddedDim,
                           ThreadPool& pool) {
  constexpr int64_t kRows = 512;
  const int64_t pieces = ceilDiv(rows, kRows);
  if (m.panels == nullptr && m.values == nullptr) return;
  pool.run(a.batch * a.heads * pieces, [&](int64_t task, int) {
    const int64_t head = task / pieces, first = task % pieces * kRows, count = smaller(kRows, rows - first);
    const float* const at = from + head / a.heads * rows * ld + head % a.heads * a.headDim;
    if (m.panels != nullptr) FloatProducts<float>::packScores(at, ld, first, count, a.headDim, m.panels + head * m.panelFloats);
    if (m.values != nullptr) FloatProducts<float>::packValues(at, ld, first, count, a.headDim, paddedDim, m.values + head * m.valueFloats);
  });
}

// What a worker has at hand, rows of W lanes each.
struct GradientBuffers {
  float *first, *second;  // the tile's queries and their dy, or keys and values
  float *toFirst, *toSecond;  // sums of gradients, [padded headDim]
  float *scores, *other;  // of a block
  float *alpha, *ones, *ref, *sum;
  explicit GradientBuffers(float* at, const AttentionGradientPlan& plan) {
    const int64_t matrix = roundUp(plan.paddedDim * kTileWidth, 16);
    first = at;
    second = first + matrix;
    toFirst = second + matrix;
    toSecond = toFirst + matrix;
    scores = toSecond + matrix;
    other = scores + kGradientBlock * kTileWidth;
    alpha = other + kGradientBlock * kTileWidth;
    ones = alpha + kTileWidth;
    ref = ones + kTileWidth;
    sum = ref + kTileWidth;
  }
};

struct GradientScales {
  bool negative;
  float c, scale;
  explicit GradientScales(float s)
      : negative(s < 0.0f), c(static_cast<float>(1.4426950408889634 * static_cast<double>(s < 0.0f ? -s : s))), scale(s) {}
};

// References, inverse sums and D of a tile's queries, and their dq.
template <int Vectors>
void queryGradient(const AttentionGradientArgs& g, const AttentionGradientPlan& plan, int64_t head, int64_t query, int64_t rows,
                   float* stats, const GradientBuffers& b, ThreadPool& pool) {
  constexpr int kWidth = Vectors * kVf;
  const AttentionArgs& a = g.forward;
  const GradientScales s(a.scale);
  const int64_t firstRow = head / a.heads * a.qLength + query, column = head % a.heads * a.headDim;
  const float* const dy = static_cast<const float*>(g.dy) + firstRow * a.ldo + column;
  const float* const o = static_cast<const float*>(g.o) + firstRow * a.ldo + column;
  loadQueries(static_cast<const float*>(a.q) + firstRow * a.ldq + column, a.ldq, rows, a.headDim, kWidth, s.negative ? -1.0f : 1.0f,
              b.first);
  const QueryTile<float> tile{b.first, nullptr, b.ref, b.sum, b.alpha, b.scores};
  float* const refs = stats + query;
  float* const inverses = refs + plan.queryTiles * kTileWidth;
  float* const sums = inverses + plan.queryTiles * kTileWidth;
  for (int i = 0; i < kWidth; i++) {
    b.ref[i] = -std::numeric_limits<float>::max();
    b.sum[i] = 0.0f;
  }
  const float* const k = plan.k.panels + head * plan.k.panelFloats;
  const int64_t keys = a.causal ? smaller(a.kLength, query + rows) : a.kLength;
  const auto scoresOf = [&](int64_t first, int count) {
    scoreBlock<Vectors>(k + first * a.headDim, b.first, count, a.headDim, b.scores);
    if (a.causal && first - query + count > 1) hideLater<Vectors>(b.scores, count, first - query);
  };
  for (int64_t first = 0; first < keys; first += kGradientBlock) {
    const int count = static_cast<int>(smaller(kGradientBlock, keys - first));
    scoresOf(first, count);
    weightBlock<Vectors>(tile, count, s.c);
  }
  for (int i = 0; i < kWidth; i++) {
    refs[i] = b.ref[i];
    inverses[i] = 1.0f / b.sum[i];
    double sum = 0;
    for (int64_t dim = 0; i < rows && dim < a.headDim; dim++)
      sum += static_cast<double>(dy[i * a.ldo + dim]) * static_cast<double>(o[i * a.ldo + dim]);
    sums[i] = static_cast<float>(sum);
  }
  if (!g.queries) return;

  loadQueries(dy, a.ldo, rows, a.headDim, kWidth, 1.0f, b.second);
  const float* const v = plan.v.panels + head * plan.v.panelFloats;
  const float* const values = plan.k.values + head * plan.k.valueFloats;
  for (int64_t first = 0; first < keys; first += kGradientBlock) {
    if (pool.cancelled()) return;
    const int count = static_cast<int>(smaller(kGradientBlock, keys - first));
    const int64_t stored = smaller(kGradientBlock, a.kLength - first);
    scoresOf(first, count);
    scoreBlock<Vectors>(v + first * a.headDim, b.second, count, a.headDim, b.other);
    vf ref[Vectors], inverse[Vectors], sum[Vectors];
    for (int i = 0; i < Vectors; i++) {
      ref[i] = vsub(vzero(), vload(refs + i * kVf));
      inverse[i] = vmul(vload(inverses + i * kVf), vset(s.scale));
      sum[i] = vload(sums + i * kVf);
    }
    for (int key = 0; key < count; key++)
      for (int i = 0; i < Vectors; i++) {
        float* const at = b.scores + key * kWidth + i * kVf;
        const vf weight = vmul(vweight(vfma(vload(at), vset(s.c), ref[i])), inverse[i]);
        vstore(at, vmul(weight, vsub(vload(b.other + key * kWidth + i * kVf), sum[i])));
      }
    for (int64_t j = 0; j < a.headDim; j += kValueTile)
      valueTile<Vectors>(values + first * plan.paddedDim + j * stored, b.scores, count, first == 0, nullptr, b.toFirst + j * kWidth);
  }
  storeOutputs(b.toFirst, b.ones, rows, a.headDim, kWidth, static_cast<float*>(g.dq) + firstRow * a.ldq + column, a.ldq);
}

// dk and dv of a tile's keys.
template <int Vectors>
void keyGradient(const AttentionGradientArgs& g, const AttentionGradientPlan& plan, int64_t head, int64_t key, int64_t rows,
                 const float* stats, const GradientBuffers& b, ThreadPool& pool) {
  constexpr int kWidth = Vectors * kVf;
  const AttentionArgs& a = g.forward;
  const GradientScales s(a.scale);
  const int64_t firstRow = head / a.heads * a.kLength + key, column = head % a.heads * a.headDim;
  loadQueries(static_cast<const float*>(a.k) + firstRow * a.ldk + column, a.ldk, rows, a.headDim, kWidth, s.negative ? -1.0f : 1.0f,
              b.first);
  loadQueries(static_cast<const float*>(a.v) + firstRow * a.ldv + column, a.ldv, rows, a.headDim, kWidth, 1.0f, b.second);
  const float* const q = plan.q.panels + head * plan.q.panelFloats;
  const float* const dy = plan.dy.panels + head * plan.dy.panelFloats;
  const float* const qValues = plan.q.values + head * plan.q.valueFloats;
  const float* const dyValues = plan.dy.values + head * plan.dy.valueFloats;
  const float* const inverses = stats + plan.queryTiles * kTileWidth;
  const float* const sums = inverses + plan.queryTiles * kTileWidth;
  // Queries before the tile's first key see none of it.
  const int64_t begin = a.causal ? key / kGradientBlock * kGradientBlock : 0;
  float ramp[kWidth];
  vf lane[Vectors];
  for (int i = 0; i < kWidth; i++) ramp[i] = static_cast<float>(key + i);
  for (int i = 0; i < Vectors; i++) lane[i] = vload(ramp + i * kVf);
  for (int64_t first = begin; first < a.qLength; first += kGradientBlock) {
    if (pool.cancelled()) return;
    const int count = static_cast<int>(smaller(kGradientBlock, a.qLength - first));
    scoreBlock<Vectors>(q + first * a.headDim, b.first, count, a.headDim, b.scores);
    scoreBlock<Vectors>(dy + first * a.headDim, b.second, count, a.headDim, b.other);
    for (int i = 0; i < count; i++) {
      const vf ref = vset(-stats[first + i]), inverse = vset(inverses[first + i]), sum = vset(sums[first + i]),
               last = vset(static_cast<float>(first + i));
      for (int j = 0; j < Vectors; j++) {
        float* const at = b.scores + i * kWidth + j * kVf;
        float* const other = b.other + i * kWidth + j * kVf;
        vf weight = vmul(vweight(vfma(vload(at), vset(s.c), ref)), inverse);
        if (a.causal) weight = vselect(vlt(last, lane[j]), vzero(), weight);
        vstore(at, weight);
        vstore(other, vmul(vmul(weight, vset(s.scale)), vsub(vload(other), sum)));
      }
    }
    for (int64_t j = 0; j < a.headDim; j += kValueTile) {
      const int64_t at = first * plan.paddedDim + j * count;
      valueTile<Vectors>(dyValues + at, b.scores, count, first == begin, nullptr, b.toSecond + j * kWidth);
      valueTile<Vectors>(qValues + at, b.other, count, first == begin, nullptr, b.toFirst + j * kWidth);
    }
  }
  storeOutputs(b.toFirst, b.ones, rows, a.headDim, kWidth, static_cast<float*>(g.dk) + firstRow * a.ldk + column, a.ldk);
  storeOutputs(b.toSecond, b.ones, rows, a.headDim, kWidth, static_cast<float*>(g.dv) + firstRow * a.ldv + column, a.ldv);
}

void attentionGradient(const AttentionGradientArgs& g, KernelContext& context) noexcept {
  const AttentionArgs& a = g.forward;
  const AttentionGradientPlan plan = attentionGradientPlan(g, context.pool.threads(), context.scratch);
  float* const stats = reinterpret_cast<float*>(context.scratch);
  float* const workers = stats + plan.heads * plan.statFloats;
  packHeads(a, plan.k, static_cast<const float*>(a.k), a.ldk, a.kLength, plan.paddedDim, context.pool);
  packHeads(a, plan.v, static_cast<const float*>(a.v), a.ldv, a.kLength, plan.paddedDim, context.pool);
  packHeads(a, plan.q, static_cast<const float*>(a.q), a.ldq, a.qLength, plan.paddedDim, context.pool);
  packHeads(a, plan.dy, static_cast<const float*>(g.dy), a.ldo, a.qLength, plan.paddedDim, context.pool);
  const auto buffersOf = [&](int worker) {
    const GradientBuffers b(workers + worker * plan.workerFloats, plan);
    for (int i = 0; i < kTileWidth; i++) b.ones[i] = 1.0f;
    return b;
  };
  context.pool.run(plan.heads * plan.queryTiles, [&](int64_t task, int worker) {
    const int64_t head = task / plan.queryTiles, query = task % plan.queryTiles * kTileWidth, rows = smaller(kTileWidth, a.qLength - query);
    const GradientBuffers b = buffersOf(worker);
    float* const at = stats + head * plan.statFloats;
    switch (ceilDiv(rows, kVf)) {
      case 1: return queryGradient<1>(g, plan, head, query, rows, at, b, context.pool);
      case 2: return queryGradient<2>(g, plan, head, query, rows, at, b, context.pool);
      default: return queryGradient<kMaxVectors>(g, plan, head, query, rows, at, b, context.pool);
    }
  });
  if (!g.keys) return;
  context.pool.run(plan.heads * plan.keyTiles, [&](int64_t task, int worker) {
    const int64_t head = task / plan.keyTiles, key = task % plan.keyTiles * kTileWidth, rows = smaller(kTileWidth, a.kLength - key);
    const GradientBuffers b = buffersOf(worker);
    const float* const at = stats + head * plan.statFloats;
    switch (ceilDiv(rows, kVf)) {
      case 1: return keyGradient<1>(g, plan, head, key, rows, at, b, context.pool);
      case 2: return keyGradient<2>(g, plan, head, key, rows, at, b, context.pool);
      default: return keyGradient<kMaxVectors>(g, plan, head, key, rows, at, b, context.pool);
    }
  });
}

}  // namespace asdm::cpu::ASDM_SET

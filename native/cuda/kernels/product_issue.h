// Chooses tiles and launches the kernels of a product; what product_*.cu share.
#pragma once

#include <type_traits>

#include "cuda/kernels/issue.h"
#include "cuda/kernels/product_mma.h"
#include "cuda/kernels/product_simt.h"
#include "cuda/kernels/routing.h"

namespace asdm::cuda {

// About as many blocks as keep a card busy: most have 28 to 144 multiprocessors. Fixed, so that tiles do not depend on the card.
constexpr int64_t kBusyBlocks = 128;

struct TilePlan {
  bool large;   // LargeTile, else SmallTile (or the tile of product_simt.h, which is as large)
  int steps, splits;
  int64_t rowTiles, columnTiles;
};

// rows: of y that share weights, `samples` times as many in all. Neither tile nor splits change any bit of the result.
inline TilePlan planTiles(int64_t rows, int64_t samples, const WeightShape& shape, bool gated, int64_t rowBytes, int segmentSteps,
                          bool mayBeLarge) {
  TilePlan plan;
  plan.steps = static_cast<int>(rowBytes / kStepBytes);
  plan.splits = 1;
  const auto tiles = [&](int64_t size) {
    plan.rowTiles = ceilDiv(rows, size);
    plan.columnTiles = gated ? ceilDiv(shape.n / 2, size / 2) : ceilDiv(shape.n, size);
    return plan.rowTiles * plan.columnTiles * samples;
  };
  plan.large = mayBeLarge && tiles(LargeTile::kRows) >= kBusyBlocks;
  const int64_t blocks = tiles(plan.large ? LargeTile::kRows : SmallTile::kRows);
  const int64_t segments = ceilDiv(plan.steps, segmentSteps);
  // A split writes and reads its sums once more, which many blocks do not repay.
  if (segments > 1 && blocks < kBusyBlocks) plan.splits = static_cast<int>(segments);
  return plan;
}

inline int64_t partialWidth(const WeightShape& shape) { return ceilDiv(shape.n, 4) * 4; }

template <class E>
Epilogue<E> epilogueOf(const LinearArgs& a) {
  Epilogue<E> e{};
  e.bias = a.bias;
  e.sampleRows = 1;
  e.activation = a.activation;
  e.residual = static_cast<const E*>(a.residual);
  e.ldr = a.ldr;
  e.residualLow = static_cast<const E*>(a.residualLow);
  e.y = static_cast<E*>(a.y);
  e.ldy = a.ldy;
  e.yLow = static_cast<E*>(a.yLow);
  e.n = a.shape.n;
  e.gated = a.gated;
  return e;
}
template <class E>
Epilogue<E> epilogueOf(const ConvArgs& a) {
  Epilogue<E> e{};
  e.bias = a.bias;
  e.rowBias = static_cast<const E*>(a.rowBias);
  e.ldRowBias = a.ldRowBias;
  e.sampleRows = a.outH * a.outW;
  e.activation = Activation::None;
  e.residual = static_cast<const E*>(a.residual);
  e.ldr = e.ldy = e.n = a.shape.n;
  e.residualLow = static_cast<const E*>(a.residualLow);
  e.y = static_cast<E*>(a.y);
  e.yLow = static_cast<E*>(a.yLow);
  return e;
}

template <class E, class Sum>
ProductParams<E, Sum> productOf(const Left& left, const Epilogue<E>& e, const void* weight, int64_t rowBytes, const WeightShape& shape,
                                const TilePlan& plan, Carver& scratch) {
  ProductParams<E, Sum> p{};
  p.left = left;
  p.weight = static_cast<const unsigned char*>(weight);
  p.rowBytes = rowBytes;
  p.steps = plan.steps;
  p.splits = plan.splits;
  p.rowTiles = static_cast<int>(plan.rowTiles);
  p.columnTiles = static_cast<int>(plan.columnTiles);
  p.blockRows = left.rows;
  p.partialWidth = partialWidth(shape);
  p.partial = plan.splits > 1 ? scratch.take<Sum>(plan.splits * left.rows * p.partialWidth) : nullptr;
  p.e = e;
  const auto fits = [](const E* pointer, int64_t ld) { return quadsFit<E>(pointer, ld); };
  p.e.whole = quadsFit<float>(e.bias, e.ldBias) && fits(e.rowBias, e.rowBias == nullptr ? 0 : e.ldRowBias) &&
              fits(e.residual, e.residual == nullptr ? 0 : e.ldr) && fits(e.residualLow, 0) && fits(e.y, e.ldy) && fits(e.yLow, 0);
  return p;
}

template <class Kernel, class Params>
void launchProduct(Issue& issue, const Params& p, int64_t samples) {
  launch<Kernel>(issue.stream, Grid{static_cast<int64_t>(p.rowTiles) * p.columnTiles, p.splits, samples}, Kernel::kSharedBytes, p);
}
template <class E, class Sum>
void reduceSegments(Issue& issue, const ProductParams<E, Sum>& p) {
  if (p.splits == 1) return;
  using Reduce = ReduceSegments<E, Sum>;
  const int64_t width = p.e.gated ? p.e.n / 2 : p.e.n;
  launch<Reduce>(issue.stream, Grid{ceilDiv(p.left.rows * ceilDiv(width, 4), Reduce::kThreads)}, 0, p);
}

// Is the left side read 16 bytes at a time?
inline bool chunksFit(const Left& l, int64_t numberBytes, bool paddedRows) {
  const int64_t chunk = 16 / numberBytes;
  return reinterpret_cast<uintptr_t>(l.x) % 16 == 0 && l.pixelStride % chunk == 0 && l.rowStride % chunk == 0 &&
         l.sampleStride % chunk == 0 && (paddedRows || l.channels % chunk == 0);
}

// Puts the rates and biases of a conditional convolution on the queue, and what the products need of them into p.
template <class E, class Params>
void issueRouting(const CondConvArgs& a, size_t expertDistance, Issue& issue, Carver& scratch, Params* p) {
  RouteParams<E> r{};
  r.x = static_cast<const E*>(a.conv.x);
  r.h = a.conv.h;
  r.w = a.conv.w;
  r.c = a.conv.shape.channels;
  r.resizeH = a.conv.resizeH;
  r.resizeW = a.conv.resizeW;
  r.experts = a.experts;
  r.n = a.conv.shape.n;
  r.softmax = a.routing == Routing::Softmax;
  r.routerWeight = a.routerWeight;
  r.routerBias = a.routerBias;
  r.bias = a.conv.bias;
  r.means = scratch.take<double>(a.conv.n * r.c);
  r.rates = scratch.take<float>(a.conv.n * a.experts);
  r.mixedBias = scratch.take<float>(a.conv.n * ceilDiv(r.n, 4) * 4);
  launch<RouteMeans<E>>(issue.stream, Grid{ceilDiv(r.c, RouteMeans<E>::kChannels), 1, a.conv.n}, RouteMeans<E>::kSharedBytes, r);
  launch<RouteRates<E>>(issue.stream, Grid{a.conv.n}, static_cast<uint32_t>(a.experts) * 8, r);
  p->experts = static_cast<int>(a.experts);
  p->expertBytes = static_cast<int64_t>(expertDistance);
  p->rates = r.rates;
  p->blockRows = a.conv.outH * a.conv.outW;
  if (a.conv.bias != nullptr) {
    p->e.bias = r.mixedBias;
    p->e.ldBias = r.n;
    p->e.whole = p->e.whole && r.n % 4 == 0;
  }
}
inline size_t routingScratch(const CondConvArgs& a) {
  Carver scratch(nullptr);
  scratch.take<double>(a.conv.n * a.conv.shape.channels);
  scratch.take<float>(a.conv.n * a.experts);
  scratch.take<float>(a.conv.n * ceilDiv(a.conv.shape.n, 4) * 4);
  return scratch.bytes();
}
inline size_t partialScratch(const TilePlan& plan, int64_t rows, const WeightShape& shape) {
  Carver scratch(nullptr);
  if (plan.splits > 1) scratch.take<float>(plan.splits * rows * partialWidth(shape));
  return scratch.bytes();
}

}  // namespace asdm::cuda

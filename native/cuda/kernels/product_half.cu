// Products of bfloat16 on the tensor cores.
#include "cuda/kernels/product_issue.h"

namespace asdm::cuda {

namespace {

template <class Tile, bool kVector, bool kLong, bool kMixed>
using Mma = ProductMma<Bf16, HalfNumber, Tile, kVector, kLong, kMixed>;
using Params = ProductParams<Bf16, float>;

int64_t rowBytesOf(const WeightShape& shape) { return packedRowBytes(shape, sizeof(Bf16)); }

TilePlan planOf(const LinearArgs& a) { return planTiles(a.m, 1, a.shape, a.gated, rowBytesOf(a.shape), kSegmentSteps, true); }
TilePlan planOf(const ConvArgs& a) { return planTiles(a.n * a.outH * a.outW, 1, a.shape, false, rowBytesOf(a.shape), kSegmentSteps, true); }
TilePlan planOf(const CondConvArgs& a) {
  return planTiles(a.conv.outH * a.conv.outW, a.conv.n, a.conv.shape, false, rowBytesOf(a.conv.shape), kSegmentSteps, true);
}

void multiply(const Params& p, bool large, Issue& issue) {
  const bool severalSegments = p.steps > kSegmentSteps && p.splits == 1;
  if (!chunksFit(p.left, sizeof(Bf16), false)) {
    Params small = p;  // the gathering kernel has small tiles alone
    small.rowTiles = static_cast<int>(ceilDiv(p.left.rows, SmallTile::kRows));
    small.columnTiles = static_cast<int>(p.e.gated ? ceilDiv(p.e.n / 2, SmallTile::kColumns / 2) : ceilDiv(p.e.n, SmallTile::kColumns));
    launchProduct<Mma<SmallTile, false, true, false>>(issue, small, 1);
  } else if (large) {
    if (severalSegments) launchProduct<Mma<LargeTile, true, true, false>>(issue, p, 1);
    else launchProduct<Mma<LargeTile, true, false, false>>(issue, p, 1);
  } else {
    if (severalSegments) launchProduct<Mma<SmallTile, true, true, false>>(issue, p, 1);
    else launchProduct<Mma<SmallTile, true, false, false>>(issue, p, 1);
  }
  reduceSegments(issue, p);
}

template <class Args>
void product(const Args& a, Issue& issue) {
  const TilePlan plan = planOf(a);
  Carver scratch(issue.scratch);
  multiply(productOf<Bf16, float>(leftOf(a), epilogueOf<Bf16>(a), a.weight, rowBytesOf(a.shape), a.shape, plan, scratch), plan.large,
           issue);
}

}  // namespace

void HalfProducts::linear(const LinearArgs& a, Issue& issue) { product(a, issue); }
void HalfProducts::conv(const ConvArgs& a, Issue& issue) { product(a, issue); }
size_t HalfProducts::linearScratch(const LinearArgs& a) { return partialScratch(planOf(a), a.m, a.shape); }
size_t HalfProducts::convScratch(const ConvArgs& a) { return partialScratch(planOf(a), a.n * a.outH * a.outW, a.shape); }

void HalfProducts::condConv(const CondConvArgs& a, Issue& issue) {
  const int64_t rowBytes = rowBytesOf(a.conv.shape);
  const TilePlan plan = planOf(a);
  Carver scratch(issue.scratch);
  Params p = productOf<Bf16, float>(leftOf(a.conv), epilogueOf<Bf16>(a.conv), a.conv.weight, rowBytes, a.conv.shape, plan, scratch);
  issueRouting<Bf16>(a, expertBytes(static_cast<size_t>(rowBytes * a.conv.shape.n)), issue, scratch, &p);
  if (!chunksFit(p.left, sizeof(Bf16), false)) {
    p.rowTiles = static_cast<int>(ceilDiv(p.blockRows, SmallTile::kRows));
    p.columnTiles = static_cast<int>(ceilDiv(p.e.n, SmallTile::kColumns));
    launchProduct<Mma<SmallTile, false, true, true>>(issue, p, a.conv.n);
  } else if (plan.large) {
    launchProduct<Mma<LargeTile, true, true, true>>(issue, p, a.conv.n);
  } else {
    launchProduct<Mma<SmallTile, true, true, true>>(issue, p, a.conv.n);
  }
  reduceSegments(issue, p);
}
size_t HalfProducts::condConvScratch(const CondConvArgs& a) {
  return partialScratch(planOf(a), a.conv.n * a.conv.outH * a.conv.outW, a.conv.shape) + routingScratch(a);
}

}  // namespace asdm::cuda

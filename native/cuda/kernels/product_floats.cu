// Products summed as floats, on any card: float activations, float weights, and bfloat16 where there are no tensor cores for it.
#include "cuda/kernels/product_issue.h"

namespace asdm::cuda {

namespace {

template <class E, class W>
struct Of {
  static constexpr int kSegment = FloatNumbers<E, W>::kSegmentSteps;
  static constexpr int kStep = 16;  // numbers
  // In steps of 16 numbers, whatever they are stored as; a row is a whole number of those.
  static TilePlan plan(int64_t rows, int64_t samples, const WeightShape& shape, bool gated) {
    TilePlan plan = planTiles(rows, samples, shape, gated, ceilDiv(shape.k(), kStep) * kStepBytes, kSegment, false);
    return plan;
  }
  static TilePlan plan(const LinearArgs& a) { return plan(a.m, 1, a.shape, a.gated); }
  static TilePlan plan(const ConvArgs& a) { return plan(a.n * a.outH * a.outW, 1, a.shape, false); }
  static TilePlan plan(const CondConvArgs& a) { return plan(a.conv.outH * a.conv.outW, a.conv.n, a.conv.shape, false); }
  static int64_t rowBytes(const WeightShape& shape) { return packedRowBytes(shape, sizeof(W)); }
  template <class Args>
  static ProductParams<E, float> product(const Args& a, const TilePlan& plan, Carver& scratch) {
    return productOf<E, float>(leftOf(a), epilogueOf<E>(a), a.weight, rowBytes(a.shape), a.shape, plan, scratch);
  }
  template <class Args>
  static void issueProduct(const Args& a, Issue& issue) {
    Carver scratch(issue.scratch);
    const auto p = product(a, plan(a), scratch);
    launchProduct<ProductFloat<E, W, false>>(issue, p, 1);
    reduceSegments(issue, p);
  }
};

}  // namespace

template <class E, class W>
void FloatProducts<E, W>::linear(const LinearArgs& a, Issue& issue) {
  Of<E, W>::issueProduct(a, issue);
}
template <class E, class W>
void FloatProducts<E, W>::conv(const ConvArgs& a, Issue& issue) {
  Of<E, W>::issueProduct(a, issue);
}
template <class E, class W>
void FloatProducts<E, W>::condConv(const CondConvArgs& a, Issue& issue) {
  using Self = Of<E, W>;
  Carver scratch(issue.scratch);
  auto p = Self::product(a.conv, Self::plan(a), scratch);
  issueRouting<E>(a, expertBytes(static_cast<size_t>(p.rowBytes * a.conv.shape.n)), issue, scratch, &p);
  launchProduct<ProductFloat<E, W, true>>(issue, p, a.conv.n);
  reduceSegments(issue, p);
}
template <class E, class W>
size_t FloatProducts<E, W>::linearScratch(const LinearArgs& a) {
  return partialScratch(Of<E, W>::plan(a), a.m, a.shape);
}
template <class E, class W>
size_t FloatProducts<E, W>::convScratch(const ConvArgs& a) {
  return partialScratch(Of<E, W>::plan(a), a.n * a.outH * a.outW, a.shape);
}
template <class E, class W>
size_t FloatProducts<E, W>::condConvScratch(const CondConvArgs& a) {
  return partialScratch(Of<E, W>::plan(a), a.conv.n * a.conv.outH * a.conv.outW, a.conv.shape) + routingScratch(a);
}

template struct FloatProducts<float, float>;
template struct FloatProducts<Bf16, float>;
template struct FloatProducts<Bf16, Bf16>;

}  // namespace asdm::cuda

// Products of 8-bit weights (WeightFormat::I8) and bfloat16 activations, which become bytes first; rules and packing as in
// cpu/int8/int8.h, but weights lie in rows: [n][k rounded up to 64], then n scales, then n sums of a row's numbers.
#include "cuda/kernels/product_issue.h"
#include "cuda/kernels/quantize.h"

namespace asdm::cuda {

namespace {

template <class Tile, bool kVector>
using Mma = ProductMma<Bf16, ByteNumber, Tile, kVector, false, false>;
using Params = ProductParams<Bf16, int32_t>;

int64_t rowBytesOf(const WeightShape& shape) { return packedRowBytes(shape, 1); }

template <bool kTensor>
TilePlan planOf(int64_t rows, const WeightShape& shape, bool gated) {
  return planTiles(rows, 1, shape, gated, rowBytesOf(shape), kSegmentSteps, kTensor);
}

constexpr int64_t kRun = 8192;  // numbers that one warp ranges

// The quantised left side, and how it is made.
QuantizeParams quantization(const void* x, int64_t groups, int64_t width, int64_t ldx, int64_t ldb, Carver& scratch) {
  QuantizeParams q{};
  q.x = static_cast<const Bf16*>(x);
  q.groups = groups;
  q.width = width;
  q.ldx = ldx;
  q.ldb = ldb;
  q.runs = ceilDiv(width, kRun);
  q.bytes = scratch.take<unsigned char>(groups * ldb);
  q.quants = scratch.take<Quant>(groups);
  q.ranges = scratch.take<int32_t>(groups * q.runs * 2);
  return q;
}
QuantizeParams quantization(const LinearArgs& a, Carver& scratch) {
  return quantization(a.x, a.m, a.shape.channels, a.ldx, rowBytesOf(a.shape), scratch);
}
QuantizeParams quantization(const ConvArgs& a, Carver& scratch) {
  const int64_t count = a.h * a.w * a.shape.channels;
  return quantization(a.x, a.n, count, count, ceilDiv(count, 16) * 16, scratch);
}
void quantize(const QuantizeParams& q, Issue& issue) {
  launch<QuantizeRanges>(issue.stream, Grid{ceilDiv(q.groups * q.runs, QuantizeRanges::kThreads / 32)}, 0, q);
  launch<QuantizeGroups>(issue.stream, Grid{ceilDiv(q.groups, QuantizeGroups::kThreads)}, 0, q);
  launch<QuantizeBytes>(issue.stream, Grid{ceilDiv(q.groups * (q.ldb / 4), QuantizeBytes::kThreads)}, 0, q);
}

template <bool kTensor>
void multiply(const Params& p, bool large, bool paddedRows, Issue& issue) {
  const bool chunks = chunksFit(p.left, 1, paddedRows);
  if constexpr (kTensor) {
    if (!chunks) {
      Params small = p;
      small.rowTiles = static_cast<int>(ceilDiv(p.left.rows, SmallTile::kRows));
      small.columnTiles = static_cast<int>(p.e.gated ? ceilDiv(p.e.n / 2, SmallTile::kColumns / 2) : ceilDiv(p.e.n, SmallTile::kColumns));
      launchProduct<Mma<SmallTile, false>>(issue, small, 1);
    } else if (large) {
      launchProduct<Mma<LargeTile, true>>(issue, p, 1);
    } else {
      launchProduct<Mma<SmallTile, true>>(issue, p, 1);
    }
  } else {
    if (chunks) launchProduct<ProductBytes<true>>(issue, p, 1);
    else launchProduct<ProductBytes<false>>(issue, p, 1);
  }
  reduceSegments(issue, p);
}

template <bool kTensor, class Args>
void product(const Args& a, Left left, bool paddedRows, const QuantizeParams& q, const TilePlan& plan, Carver& scratch, Issue& issue) {
  const int64_t rowBytes = rowBytesOf(a.shape);
  left.x = q.bytes;
  left.xLow = nullptr;
  Epilogue<Bf16> e = epilogueOf<Bf16>(a);
  e.scales = reinterpret_cast<const float*>(static_cast<const unsigned char*>(a.weight) + a.shape.n * rowBytes);
  e.weightSums = reinterpret_cast<const int32_t*>(e.scales + a.shape.n);
  e.quants = q.quants;
  e.quantPerRow = paddedRows;
  multiply<kTensor>(productOf<Bf16, int32_t>(left, e, a.weight, rowBytes, a.shape, plan, scratch), plan.large, paddedRows, issue);
}

}  // namespace

template <bool kTensor>
void ByteProducts<kTensor>::linear(const LinearArgs& a, Issue& issue) {
  Carver scratch(issue.scratch);
  const QuantizeParams q = quantization(a, scratch);
  quantize(q, issue);
  Left left = leftOf(a);
  left.pixelStride = q.ldb;
  product<kTensor>(a, left, true, q, planOf<kTensor>(a.m, a.shape, a.gated), scratch, issue);
}
template <bool kTensor>
void ByteProducts<kTensor>::conv(const ConvArgs& a, Issue& issue) {
  Carver scratch(issue.scratch);
  const QuantizeParams q = quantization(a, scratch);
  quantize(q, issue);
  Left left = leftOf(a);
  left.sampleStride = q.ldb;
  product<kTensor>(a, left, false, q, planOf<kTensor>(a.n * a.outH * a.outW, a.shape, false), scratch, issue);
}
template <bool kTensor>
size_t ByteProducts<kTensor>::linearScratch(const LinearArgs& a) {
  Carver scratch(nullptr);
  quantization(a, scratch);
  return scratch.bytes() + partialScratch(planOf<kTensor>(a.m, a.shape, a.gated), a.m, a.shape);
}
template <bool kTensor>
size_t ByteProducts<kTensor>::convScratch(const ConvArgs& a) {
  Carver scratch(nullptr);
  quantization(a, scratch);
  const int64_t rows = a.n * a.outH * a.outW;
  return scratch.bytes() + partialScratch(planOf<kTensor>(rows, a.shape, false), rows, a.shape);
}

template struct ByteProducts<true>;
template struct ByteProducts<false>;

}  // namespace asdm::cuda

// Which memory an op may touch, from its arguments alone: what its contract in backend/arguments.h says, and no byte more. What is written
// comes first: where the result overwrites an operand, its span is the one that counts.
#pragma once

#include <vector>

#include "backend/kernels.h"
#include "cuda/emulation/shadow.h"
#include "cuda/kernels/pack.h"

namespace asdm::cuda::emulation {

class Spans {
 public:
  explicit Spans(DType activations) : activations_(activations), size_(dtypeBytes(activations)) {}
  std::vector<Span> take() { return std::move(spans_); }

  void scratch(void* data, size_t bytes) { add(data, static_cast<int64_t>(bytes), true, "scratch"); }

  void of(const LinearArgs& a) {
    const int64_t y = rows(a.m, a.ldy, a.width()), residual = rows(a.m, a.ldr, a.width()), x = rows(a.m, a.ldx, a.shape.channels);
    writes(a.y, y, "y");
    writes(a.yLow, y, "yLow");
    reads(a.residual, residual, "residual");
    reads(a.residualLow, residual, "residualLow");
    reads(a.x, x, "x");
    reads(a.xLow, x, "xLow");
    add(a.weight, static_cast<int64_t>(packedBytes(a.shape, activations_)), false, "weight");
    floats(a.bias, a.shape.n, "bias");
  }
  void of(const ConvArgs& a) { conv(a, 1); }
  void of(const CondConvArgs& a) {
    conv(a.conv, a.experts);
    floats(a.routerWeight, a.experts * a.conv.shape.channels, "routerWeight");
    floats(a.routerBias, a.experts, "routerBias");
  }
  void of(const GroupNormArgs& a) {
    const int64_t count = a.n * a.rows * a.c;
    writes(a.y, count, "y");
    reads(a.x, count, "x");
    reads(a.xLow, count, "xLow");
    floats(a.gamma, a.c, "gamma");
    floats(a.beta, a.c, "beta");
  }
  void of(const LayerNormArgs& a) {
    const int64_t count = a.rows * a.c;
    writes(a.y, count, "y");
    reads(a.x, count, "x");
    reads(a.xLow, count, "xLow");
    floats(a.gamma, a.c, "gamma");
    floats(a.beta, a.c, "beta");
  }
  void of(const AttentionArgs& a) {
    const int64_t width = a.heads * a.headDim;
    writes(a.o, rows(a.batch * a.qLength, a.ldo, width), "o");
    reads(a.q, rows(a.batch * a.qLength, a.ldq, width), "q");
    reads(a.k, rows(a.batch * a.kLength, a.ldk, width), "k");
    reads(a.v, rows(a.batch * a.kLength, a.ldv, width), "v");
  }
  void of(const GegluArgs& a) {
    writes(a.y, a.rows * a.inner, "y");
    reads(a.x, a.rows * 2 * a.inner, "x");
  }
  void of(const ActivationArgs& a) {
    writes(a.y, a.count, "y");
    reads(a.x, a.count, "x");
  }
  void of(const AddArgs& a) {
    writes(a.y, a.count, "y");
    writes(a.yLow, a.count, "yLow");
    reads(a.a, a.count, "a");
    reads(a.b, a.count, "b");
    reads(a.aLow, a.count, "aLow");
    reads(a.bLow, a.count, "bLow");
  }
  void of(const ConcatArgs& a) {
    writes(a.y, a.rows * (a.ca + a.cb), "y");
    writes(a.yLow, a.rows * (a.ca + a.cb), "yLow");
    reads(a.a, a.rows * a.ca, "a");
    reads(a.b, a.rows * a.cb, "b");
    reads(a.aLow, a.rows * a.ca, "aLow");
    reads(a.bLow, a.rows * a.cb, "bLow");
  }
  void of(const EmbedArgs& a) {
    writes(a.y, a.batch * a.length * a.width, "y");
    add(a.ids, a.batch * a.length * 4, false, "ids");
    // The table's height is not among the arguments: it is as high as its rows that are asked for.
    int64_t rows = 0;
    for (int64_t i = 0; i < a.batch * a.length; i++) rows = a.ids[i] >= rows ? a.ids[i] + 1 : rows;
    reads(a.token, rows * a.width, "token");
    reads(a.position, a.length * a.width, "position");
  }
  void of(const TimestepArgs& a) {
    writes(a.y, a.n * a.dim, "y");
    floats(a.t, a.n, "t");
  }
  void of(const LineArgs& a) {
    writes(a.y, a.count, "y");
    writes(a.yLow, a.count, "yLow");
    reads(a.last, a.count, "last");
    reads(a.before, a.count, "before");
    reads(a.lastLow, a.count, "lastLow");
    reads(a.beforeLow, a.count, "beforeLow");
  }
  void of(const ChangeArgs& a) {
    add(a.sums, 16, true, "sums");
    reads(a.now, a.count, "now");
    reads(a.before, a.count, "before");
  }
  void of(const CopyArgs& a) {
    add(a.y, a.bytes, true, "y");
    add(a.x, a.bytes, false, "x");
  }
  void toChannelsLast(const LayoutArgs& a) {
    const int64_t count = a.n * a.c * a.pixels;
    writes(a.y, count, "y");
    writes(a.yLow, count, "yLow");
    add(a.x, count * 4, false, "x");
  }
  void toChannelsFirst(const LayoutArgs& a) {
    const int64_t count = a.n * a.c * a.pixels;
    add(a.y, count * 4, true, "y");
    reads(a.x, count, "x");
  }

 private:
  static int64_t rows(int64_t count, int64_t ld, int64_t width) { return (count - 1) * ld + width; }
  void conv(const ConvArgs& a, int64_t experts) {
    const int64_t y = a.n * a.outH * a.outW * a.shape.n, x = a.n * a.h * a.w * a.shape.channels;
    writes(a.y, y, "y");
    writes(a.yLow, y, "yLow");
    reads(a.residual, y, "residual");
    reads(a.residualLow, y, "residualLow");
    reads(a.x, x, "x");
    reads(a.xLow, x, "xLow");
    if (a.rowBias != nullptr) reads(a.rowBias, rows(a.n, a.ldRowBias, a.shape.n), "rowBias");
    const size_t bytes = packedBytes(a.shape, activations_);
    add(a.weight, static_cast<int64_t>(expertBytes(bytes)) * (experts - 1) + static_cast<int64_t>(bytes), false, "weight");
    floats(a.bias, experts * a.shape.n, "bias");
  }
  void add(const void* data, int64_t bytes, bool writable, const char* name) {
    if (data != nullptr && bytes > 0)
      spans_.push_back({static_cast<const unsigned char*>(data), static_cast<size_t>(bytes), writable, name});
  }
  void writes(const void* data, int64_t count, const char* name) { add(data, count * size_, true, name); }
  void reads(const void* data, int64_t count, const char* name) { add(data, count * size_, false, name); }
  void floats(const float* data, int64_t count, const char* name) { add(data, count * 4, false, name); }

  DType activations_;
  int64_t size_;
  std::vector<Span> spans_;
};

}  // namespace asdm::cuda::emulation

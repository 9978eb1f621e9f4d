// Linear layers and convolutions, and their gradients.
#pragma once

#include "graph/rule.h"

namespace asdm {

template <>
struct Rule<Op::Linear> {
  static Status shape(const UnitShapes& u, Shape* y) {
    const WeightShape& w = u.weight(0);
    ASDM_TRY(u.channels(w.channels));
    const Shape& x = u.input(0);
    *y = x;
    (*y)[y->rank - 1] = w.n;
    if (u.attributes().layout == Layout::ToSequence) {
      if (x.rank != 4) return u.mismatch("[N,H,W," + std::to_string(w.channels) + "]", x);
      *y = Shape{x[0], x[1] * x[2], w.n};
    } else if (u.attributes().layout == Layout::ToMap) {
      const Shape& map = u.of(u.attributes().sizeOf);
      const Shape expected{map[0], map[1] * map[2], w.channels};
      if (map.rank != 4 || x != expected) return u.mismatch(expected.text(), x);
      *y = Shape{map[0], map[1], map[2], w.n};
    }
    return Status::good();
  }
  static LinearArgs lower(const Lowering& l) {
    LinearArgs a{};
    a.shape = l.weight(0);
    a.m = l.input(0).rows();
    a.ldx = l.input(0).channels();
    a.activation = l.fused.activation;
    a.gated = l.fused.gated;
    a.ldr = a.ldy = a.width();
    return a;
  }
  static void bind(const Pointers& p, LinearArgs& a) {
    a.x = p.in(0);
    a.xLow = p.inLow(0);
    a.weight = p.weight(0);
    a.bias = p.vector(1);
    a.residual = p.residual();
    a.residualLow = p.residualLow();
    a.y = p.out();
    a.yLow = p.outLow();
  }
};

template <>
struct Rule<Op::Conv2d> {
  static Status shape(const UnitShapes& u, Shape* y) {
    const Shape& x = u.input(0);
    const WeightShape& w = u.weight(0);
    const Attributes& a = u.attributes();
    if (a.layout != Layout::Same) return Rule<Op::Linear>::shape(u, y);  // a 1x1 kernel
    if (x.rank != 4) return u.mismatch("[N,H,W," + std::to_string(w.channels) + "]", x);
    ASDM_TRY(u.channels(w.channels));
    int64_t h = x[1], width = x[2];
    if (a.doubleSize) {
      h *= 2;
      width *= 2;
    } else if (a.sizeOf != kNoUnit) {
      const Shape& like = u.of(a.sizeOf);
      if (like.rank != 4) return u.mismatch("a feature map", like);
      h = like[1];
      width = like[2];
    }
    const int64_t outH = (h + a.padBefore + a.padAfter - a.kernel) / a.stride + 1;
    const int64_t outW = (width + a.padBefore + a.padAfter - a.kernel) / a.stride + 1;
    const int64_t least = a.kernel - a.padBefore - a.padAfter;
    if (h < least || width < least) return u.mismatch("height and width of at least " + std::to_string(least), x);
    *y = Shape{x[0], outH, outW, w.n};
    if (u.unit.inputs.size() == 2 && u.input(1) != Shape{x[0], w.n}) return u.mismatch(Shape{x[0], w.n}.text(), u.input(1));
    return Status::good();
  }
  static ConvArgs lower(const Lowering& l) {
    const Attributes& at = l.attributes();
    const Shape& x = l.input(0);
    ConvArgs a{};
    a.shape = l.weight(0);
    a.ldRowBias = a.shape.n;
    a.kernelH = a.kernelW = at.kernel;
    a.stride = at.stride;
    a.n = x[0];
    if (at.layout != Layout::Same) {  // a sequence on one side: a row of pixels will do
      a.h = a.outH = 1;
      a.w = a.outW = x.rows() / x[0];
      return a;
    }
    a.h = x[1];
    a.w = x[2];
    if (at.doubleSize) {
      a.resizeH = 2 * a.h;
      a.resizeW = 2 * a.w;
    } else if (at.sizeOf != kNoUnit) {
      a.resizeH = l.of(at.sizeOf)[1];
      a.resizeW = l.of(at.sizeOf)[2];
    }
    a.padTop = a.padLeft = at.padBefore;
    a.outH = l.y[1];
    a.outW = l.y[2];
    return a;
  }
  static void bind(const Pointers& p, ConvArgs& a) {
    a.x = p.in(0);
    a.xLow = p.inLow(0);
    a.weight = p.weight(0);
    a.bias = p.vector(1);
    a.rowBias = p.in(1);
    a.residual = p.residual();
    a.residualLow = p.residualLow();
    a.y = p.out();
    a.yLow = p.outLow();
  }
};

template <>
struct Rule<Op::CondConv> {
  static Status shape(const UnitShapes& u, Shape* y) { return Rule<Op::Conv2d>::shape(u, y); }
  static CondConvArgs lower(const Lowering& l) {
    return {Rule<Op::Conv2d>::lower(l), l.attributes().experts, l.attributes().routing, nullptr, nullptr};
  }
  static void bind(const Pointers& p, CondConvArgs& a) {
    Rule<Op::Conv2d>::bind(p, a.conv);
    a.routerWeight = p.vector(2);
    a.routerBias = p.vector(3);
  }
};

// Gradients of inputs have the inputs' shapes; those of weights are no values.
struct InputGradient {
  static Status shape(const UnitShapes& u, Shape* y) {
    *y = u.of(u.forward().inputs[0]);
    return Status::good();
  }
};
struct WeightGradient {
  static Status shape(const UnitShapes&, Shape* y) {
    *y = Shape{1};
    return Status::good();
  }
};

template <>
struct Rule<Op::LinearInputGradient> : InputGradient {
  static LinearInputGradientArgs lower(const Lowering& l) {
    const LinearArgs a = l.forwardArguments<Op::Linear>();
    return {nullptr, a.m, a.shape, nullptr, nullptr};
  }
  static void bind(const Pointers& p, LinearInputGradientArgs& a) {
    a.dy = p.in(0);
    a.weight = p.weight(0);
    a.dx = p.out();
  }
};

template <>
struct Rule<Op::LinearWeightGradient> : WeightGradient {
  static LinearWeightGradientArgs lower(const Lowering& l) {
    const LinearArgs a = l.forwardArguments<Op::Linear>();
    return {nullptr, nullptr, a.m, a.shape, nullptr, nullptr};
  }
  static void bind(const Pointers& p, LinearWeightGradientArgs& a) {
    a.x = p.in(0);
    a.dy = p.in(1);
    a.dWeight = p.gradient(0);
    a.dBias = p.gradient(1);
  }
};

template <>
struct Rule<Op::ConvInputGradient> : InputGradient {
  static ConvInputGradientArgs lower(const Lowering& l) { return {l.forwardArguments<Op::Conv2d>(), nullptr, nullptr}; }
  static void bind(const Pointers& p, ConvInputGradientArgs& a) {
    a.forward.weight = p.weight(0);
    a.dy = p.in(0);
    a.dx = p.out();
  }
};

template <>
struct Rule<Op::ConvWeightGradient> : WeightGradient {
  static ConvWeightGradientArgs lower(const Lowering& l) { return {l.forwardArguments<Op::Conv2d>(), nullptr, nullptr, nullptr}; }
  static void bind(const Pointers& p, ConvWeightGradientArgs& a) {
    a.forward.x = p.in(0);
    a.dy = p.in(1);
    a.dWeight = p.gradient(0);
    a.dBias = p.gradient(1);
  }
};

template <>
struct Rule<Op::CondConvGradient> {
  static Status shape(const UnitShapes& u, Shape* y) {
    *y = u.input(0);
    return Status::good();
  }
  static CondConvGradientArgs lower(const Lowering& l) {
    return {l.forwardArguments<Op::CondConv>(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
  }
  static void bind(const Pointers& p, CondConvGradientArgs& a) {
    a.forward.conv.x = p.in(0);
    a.forward.conv.weight = p.weight(0);
    a.forward.conv.bias = p.vector(1);
    a.forward.routerWeight = p.vector(2);
    a.forward.routerBias = p.vector(3);
    a.dy = p.in(1);
    a.dx = p.out();
    a.dWeight = p.gradient(0);
    a.dBias = p.gradient(1);
    a.dRouterWeight = p.gradient(2);
    a.dRouterBias = p.gradient(3);
  }
};

}  // namespace asdm

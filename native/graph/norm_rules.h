// Group and layer norm, and their gradients.
#pragma once

#include "graph/rule.h"

namespace asdm {

struct Norm {
  static Status shape(const UnitShapes& u, Shape* y) {
    ASDM_TRY(u.channels(u.weight(0).n));
    *y = u.input(0);
    return Status::good();
  }
  template <class Args>
  static void bind(const Pointers& p, Args& a) {
    a.x = p.in(0);
    a.xLow = p.inLow(0);
    a.gamma = p.vector(0);
    a.beta = p.vector(1);
    a.y = p.out();
  }
};

template <>
struct Rule<Op::GroupNorm> : Norm {
  static Status shape(const UnitShapes& u, Shape* y) {
    ASDM_TRY(Norm::shape(u, y));
    return y->rank == 4 ? Status::good() : u.mismatch("[N,H,W,C]", *y);
  }
  static GroupNormArgs lower(const Lowering& l) {
    const Shape& x = l.input(0);
    const Attributes& at = l.attributes();
    return {nullptr, x[0], x[1] * x[2], x[3], at.groups, at.eps, nullptr, nullptr, at.silu, nullptr};
  }
};

template <>
struct Rule<Op::LayerNorm> : Norm {
  static LayerNormArgs lower(const Lowering& l) {
    return {nullptr, l.input(0).rows(), l.input(0).channels(), l.attributes().eps, nullptr, nullptr, nullptr};
  }
};

struct NormGradient {
  static Status shape(const UnitShapes& u, Shape* y) {
    *y = u.input(0);
    return Status::good();
  }
  template <class Args>
  static void bind(const Pointers& p, Args& a) {
    a.forward.x = p.in(0);
    a.forward.gamma = p.vector(0);
    a.forward.beta = p.vector(1);
    a.dy = p.in(1);
    a.dx = p.out();
    a.dGamma = p.gradient(0);
    a.dBeta = p.gradient(1);
  }
};

template <>
struct Rule<Op::GroupNormGradient> : NormGradient {
  static GroupNormGradientArgs lower(const Lowering& l) {
    return {l.forwardArguments<Op::GroupNorm>(), nullptr, nullptr, nullptr, nullptr};
  }
};

template <>
struct Rule<Op::LayerNormGradient> : NormGradient {
  static LayerNormGradientArgs lower(const Lowering& l) {
    return {l.forwardArguments<Op::LayerNorm>(), nullptr, nullptr, nullptr, nullptr};
  }
};

}  // namespace asdm

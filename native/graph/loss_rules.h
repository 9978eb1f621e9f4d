// Losses. Gradients stand beside the ops that they are of.
#pragma once

#include "graph/rule.h"

namespace asdm {

template <>
struct Rule<Op::Loss> {
  static Status shape(const UnitShapes& u, Shape* y) {
    const Shape& prediction = u.input(0);
    if (prediction.rank < 2) return u.mismatch("samples of at least one number", prediction);
    if (u.input(1) != prediction) return u.mismatch(prediction.text(), u.input(1));
    *y = Shape{prediction[0]};
    return Status::good();
  }
  static LossArgs lower(const Lowering& l) {
    const Shape& x = l.input(0);
    return {nullptr, nullptr, x[0], x.rows() / x[0], x.channels(), l.attributes().loss, nullptr};
  }
  static void bind(const Pointers& p, LossArgs& a) {
    a.prediction = p.in(0);
    a.target = p.in(1);
    a.y = static_cast<float*>(p.out());
  }
};

template <>
struct Rule<Op::LossGradient> {
  static Status shape(const UnitShapes& u, Shape* y) {
    Shape samples;
    ASDM_TRY(Rule<Op::Loss>::shape(u, &samples));
    if (u.input(2) != samples) return u.mismatch(samples.text(), u.input(2));
    *y = u.input(0);
    return Status::good();
  }
  static LossGradientArgs lower(const Lowering& l) { return {Rule<Op::Loss>::lower(l), nullptr, nullptr}; }
  static void bind(const Pointers& p, LossGradientArgs& a) {
    a.forward.prediction = p.in(0);
    a.forward.target = p.in(1);
    a.weight = static_cast<const float*>(p.in(2));
    a.dx = p.out();
  }
};

}  // namespace asdm

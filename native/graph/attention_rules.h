// Attention and its gradient.
#pragma once

#include <cmath>

#include "graph/rule.h"

namespace asdm {

template <>
struct Rule<Op::Attention> {
  static Status shape(const UnitShapes& u, Shape* y) {
    const Attributes& a = u.attributes();
    const Shape &q = u.input(0), &k = u.input(1), &v = u.input(2);
    const int64_t width = a.heads * a.headDim;
    for (const Shape* s : {&q, &k, &v})
      if (s->rank != 3) return u.mismatch("[N,L,C]", *s);
    if (k[0] != q[0] || v[0] != q[0] || v[1] != k[1]) return u.mismatch(Shape{q[0], k[1], v[2]}.text(), v);
    if (a.causal && q[1] != k[1]) return u.mismatch(Shape{q[0], q[1], k[2]}.text(), k);
    if (a.qColumn + width > q[2]) return u.mismatch("at least " + std::to_string(a.qColumn + width) + " query columns", q);
    if (a.kColumn + width > k[2]) return u.mismatch("at least " + std::to_string(a.kColumn + width) + " key columns", k);
    if (a.vColumn + width > v[2]) return u.mismatch("at least " + std::to_string(a.vColumn + width) + " value columns", v);
    *y = Shape{q[0], q[1], width};
    return Status::good();
  }
  static AttentionArgs lower(const Lowering& l) {
    const Attributes& at = l.attributes();
    const Shape &q = l.input(0), &k = l.input(1), &v = l.input(2);
    AttentionArgs a{};
    a.ldq = q[2];
    a.ldk = k[2];
    a.ldv = v[2];
    a.batch = q[0];
    a.heads = at.heads;
    a.qLength = q[1];
    a.kLength = k[1];
    a.headDim = at.headDim;
    a.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(at.headDim)));
    a.causal = at.causal;
    a.ldo = at.heads * at.headDim;
    return a;
  }
  static void bind(const Pointers& p, AttentionArgs& a) {
    a.q = p.columns(0);
    a.k = p.columns(1);
    a.v = p.columns(2);
    a.o = p.out();
  }
};

// Where queries, keys and values are column ranges of one value, their gradients are, and fill it.
template <>
struct Rule<Op::AttentionGradient> {
  static bool ofOne(const UnitShapes& u) { return u.forward().inputs[0] == u.forward().inputs[1]; }
  static Status shape(const UnitShapes& u, Shape* y) {
    const Attributes& a = u.forward().attributes;
    const bool keys = u.attributes().keys;
    const int64_t whole = (ofOne(u) ? 3 : keys ? 2 : 1) * a.heads * a.headDim;
    *y = u.input(keys ? 1 : 0);
    return y->channels() == whole ? Status::good() : u.mismatch(std::to_string(whole) + " columns", *y);
  }
  static AttentionGradientArgs lower(const Lowering& l) {
    const bool keys = l.attributes().keys;
    return {l.forwardArguments<Op::Attention>(), !keys, keys || ofOne(l), nullptr, nullptr, nullptr, nullptr, nullptr};
  }
  static void bind(const Pointers& p, AttentionGradientArgs& a) {
    a.forward.q = p.columns(0);
    a.forward.k = p.columns(1);
    a.forward.v = p.columns(2);
    a.o = p.in(3);
    a.dy = p.in(4);
    float* const dx = static_cast<float*>(p.out());
    a.dq = a.queries ? dx + p.step.columns[0] : nullptr;
    a.dk = a.keys ? dx + p.step.columns[1] : nullptr;
    a.dv = a.keys ? dx + p.step.columns[2] : nullptr;
  }
};

}  // namespace asdm

// Activations, sums, copies and look-ups, and their gradients; values on their way in and out.
#pragma once

#include "graph/rule.h"

namespace asdm {

struct LikeInput {
  static Status shape(const UnitShapes& u, Shape* y) {
    *y = u.input(0);
    return Status::good();
  }
};
struct FromOne {
  template <class Args>
  static void bind(const Pointers& p, Args& a) {
    a.x = p.in(0);
    a.y = p.out();
  }
};
struct FromTwo {
  template <class Args>
  static void bind(const Pointers& p, Args& a) {
    a.a = p.in(0);
    a.b = p.in(1);
    a.y = p.out();
    a.aLow = p.inLow(0);
    a.bLow = p.inLow(1);
    a.yLow = p.outLow();
  }
};
struct OfOne {
  template <class Args>
  static void bind(const Pointers& p, Args& a) {
    a.x = p.in(0);
    a.dy = p.in(1);
    a.dx = p.out();
  }
};

// On its way in a feature map becomes channels last; a sequence is that already, and only converted.
struct Layouts {
  static LayoutArgs lower(const Lowering& l) {
    const Shape& y = l.y;
    return y.rank == 4 ? LayoutArgs{nullptr, y[0], y[3], y[1] * y[2], nullptr} : LayoutArgs{nullptr, 1, 1, y.count(), nullptr};
  }
  static void bind(const Pointers& p, LayoutArgs& a) {
    a.x = p.in(0);
    a.y = p.out();
    a.yLow = p.outLow();
  }
};
template <>
struct Rule<Op::Input> : Layouts {
  static Status shape(const UnitShapes&, Shape*) { return Status::good(); }  // as given
};
struct NoUnit : Layouts {
  static Status shape(const UnitShapes& u, Shape*) {
    return {Code::Internal, std::string("Expected no ") + opInfo(u.unit.op).name + " in a graph but " + u.unit.name + " is one"};
  }
};
template <>
struct Rule<Op::ToChannelsLast> : NoUnit {};
template <>
struct Rule<Op::ToChannelsFirst> : NoUnit {};

template <>
struct Rule<Op::Geglu> : FromOne {
  static Status shape(const UnitShapes& u, Shape* y) {
    *y = u.input(0);
    if (y->rank < 1 || y->channels() % 2 != 0) return u.mismatch("an even width", *y);
    (*y)[y->rank - 1] /= 2;
    return Status::good();
  }
  static GegluArgs lower(const Lowering& l) { return {nullptr, l.y.rows(), l.y.channels(), nullptr}; }
};

template <>
struct Rule<Op::GegluGradient> : LikeInput, OfOne {
  static GegluGradientArgs lower(const Lowering& l) { return {nullptr, nullptr, l.input(1).rows(), l.input(1).channels(), nullptr}; }
};

template <>
struct Rule<Op::Activation> : LikeInput, FromOne {
  static ActivationArgs lower(const Lowering& l) { return {nullptr, l.y.count(), l.attributes().activation, nullptr}; }
};

template <>
struct Rule<Op::ActivationGradient> : LikeInput, OfOne {
  static ActivationGradientArgs lower(const Lowering& l) { return {nullptr, nullptr, l.y.count(), l.attributes().activation, nullptr}; }
};

template <>
struct Rule<Op::Add> : FromTwo {
  static Status shape(const UnitShapes& u, Shape* y) {
    *y = u.input(0);
    return u.input(1) == *y ? Status::good() : u.mismatch(y->text(), u.input(1));
  }
  static AddArgs lower(const Lowering& l) { return {nullptr, nullptr, l.y.count(), nullptr}; }
};

template <>
struct Rule<Op::Concat> : FromTwo {
  static Status shape(const UnitShapes& u, Shape* y) {
    const Shape &a = u.input(0), &b = u.input(1);
    Shape expected = a;
    if (b.rank == a.rank && a.rank >= 1) expected[a.rank - 1] = b.channels();
    if (a.rank < 1 || b != expected) return u.mismatch(expected.text(), b);
    *y = a;
    (*y)[a.rank - 1] = a.channels() + b.channels();
    return Status::good();
  }
  static ConcatArgs lower(const Lowering& l) {
    return {nullptr, nullptr, l.y.rows(), l.input(0).channels(), l.input(1).channels(), nullptr};
  }
};

// What a concatenation's gradient is to one of its inputs.
template <>
struct Rule<Op::Slice> : FromOne {
  static Status shape(const UnitShapes& u, Shape* y) {
    *y = u.of(u.forward().inputs[u.attributes().second ? 1 : 0]);
    return Status::good();
  }
  static SliceArgs lower(const Lowering& l) {
    const Shape& x = l.input(0);
    return {nullptr, x.rows(), x.channels(), l.attributes().second ? x.channels() - l.y.channels() : 0, l.y.channels(), nullptr};
  }
};

template <>
struct Rule<Op::SumRows> : FromOne {
  static Status shape(const UnitShapes& u, Shape* y) {
    *y = Shape{u.input(0)[0], u.input(0).channels()};
    return Status::good();
  }
  static SumRowsArgs lower(const Lowering& l) {
    const Shape& x = l.input(0);
    return {nullptr, x[0], x.rows() / x[0], x.channels(), nullptr};
  }
};

template <>
struct Rule<Op::Embed> {
  static Status shape(const UnitShapes& u, Shape* y) {
    const Shape& ids = u.input(0);
    const int64_t positions = u.weight(1).n;
    if (ids.rank != 2 || ids[1] > positions) return u.mismatch("[N,L] with L up to " + std::to_string(positions), ids);
    *y = Shape{ids[0], ids[1], u.weight(0).channels};
    return Status::good();
  }
  static EmbedArgs lower(const Lowering& l) { return {nullptr, l.y[0], l.y[1], l.y[2], nullptr, nullptr, nullptr}; }
  static void bind(const Pointers& p, EmbedArgs& a) {
    a.ids = static_cast<const int32_t*>(p.in(0));
    a.token = p.weight(0);
    a.position = p.weight(1);
    a.y = p.out();
  }
};

template <>
struct Rule<Op::Timestep> {
  static Status shape(const UnitShapes& u, Shape* y) {
    if (u.input(0).rank != 1) return u.mismatch("[N]", u.input(0));
    *y = Shape{u.input(0)[0], u.attributes().dim};
    return Status::good();
  }
  static TimestepArgs lower(const Lowering& l) {
    const Attributes& at = l.attributes();
    return {nullptr, l.y[0], at.dim, at.flip, at.freqShift, nullptr};
  }
  static void bind(const Pointers& p, TimestepArgs& a) {
    a.t = static_cast<const float*>(p.in(0));
    a.y = p.out();
  }
};

}  // namespace asdm

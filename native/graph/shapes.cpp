#include "graph/shapes.h"

namespace asdm {

namespace {

// 2^38 numbers are a terabyte: more than any machine runs, little enough for 64-bit arithmetic.
constexpr double kMaxCount = 274877906944.0;

Status mismatch(const std::string& expected, const Unit& unit, const Shape& received) {
  return {Code::ShapeMismatch, "Expected " + expected + " for " + unit.name + " but received " + received.text()};
}

struct Rules {
  const Graph& graph;
  const std::vector<Shape>& shapes;

  const Shape& input(const Unit& u, size_t i) const { return shapes[static_cast<size_t>(u.inputs[i])]; }
  const WeightRef& weight(const Unit& u, size_t i) const { return graph.weights[static_cast<size_t>(u.weights[i])]; }
  const Shape& reference(const Unit& u) const { return shapes[static_cast<size_t>(u.attributes.sizeOf)]; }

  Status channels(const Unit& u, int64_t wanted) const {
    const Shape& x = input(u, 0);
    if (x.rank >= 1 && x.channels() == wanted) return Status::good();
    Shape expected = x;
    if (expected.rank == 0) expected.rank = 1;
    expected[expected.rank - 1] = wanted;
    return mismatch(expected.text(), u, x);
  }

  Status linear(const Unit& u, Shape* y) const {
    const WeightShape& w = weight(u, 0).shape;
    ASDM_TRY(channels(u, w.channels));
    const Shape& x = input(u, 0);
    *y = x;
    (*y)[y->rank - 1] = w.n;
    if (u.attributes.layout == Layout::ToSequence) {
      if (x.rank != 4) return mismatch("[N,H,W," + std::to_string(w.channels) + "]", u, x);
      *y = Shape{x[0], x[1] * x[2], w.n};
    } else if (u.attributes.layout == Layout::ToMap) {
      const Shape& map = reference(u);
      const Shape expected{map[0], map[1] * map[2], w.channels};
      if (map.rank != 4 || x != expected) return mismatch(expected.text(), u, x);
      *y = Shape{map[0], map[1], map[2], w.n};
    }
    return Status::good();
  }

  Status conv2d(const Unit& u, Shape* y) const {
    const Shape& x = input(u, 0);
    const WeightShape& w = weight(u, 0).shape;
    const Attributes& a = u.attributes;
    if (a.layout != Layout::Same) return linear(u, y);  // a 1x1 kernel
    if (x.rank != 4) return mismatch("[N,H,W," + std::to_string(w.channels) + "]", u, x);
    ASDM_TRY(channels(u, w.channels));
    int64_t h = x[1], width = x[2];
    if (a.doubleSize) {
      h *= 2;
      width *= 2;
    } else if (a.sizeOf != kNoUnit) {
      if (reference(u).rank != 4) return mismatch("a feature map", u, reference(u));
      h = reference(u)[1];
      width = reference(u)[2];
    }
    const int64_t outH = (h + a.padBefore + a.padAfter - a.kernel) / a.stride + 1;
    const int64_t outW = (width + a.padBefore + a.padAfter - a.kernel) / a.stride + 1;
    const int64_t least = a.kernel - a.padBefore - a.padAfter;
    if (h < least || width < least) return mismatch("height and width of at least " + std::to_string(least), u, x);
    *y = Shape{x[0], outH, outW, w.n};
    if (u.inputs.size() == 2 && input(u, 1) != Shape{x[0], w.n}) return mismatch(Shape{x[0], w.n}.text(), u, input(u, 1));
    return Status::good();
  }

  Status attention(const Unit& u, Shape* y) const {
    const Attributes& a = u.attributes;
    const Shape &q = input(u, 0), &k = input(u, 1), &v = input(u, 2);
    const int64_t width = a.heads * a.headDim;
    for (const Shape* s : {&q, &k, &v})
      if (s->rank != 3) return mismatch("[N,L,C]", u, *s);
    if (k[0] != q[0] || v[0] != q[0] || v[1] != k[1]) return mismatch(Shape{q[0], k[1], v[2]}.text(), u, v);
    if (a.causal && q[1] != k[1]) return mismatch(Shape{q[0], q[1], k[2]}.text(), u, k);
    if (a.qColumn + width > q[2]) return mismatch("at least " + std::to_string(a.qColumn + width) + " query columns", u, q);
    if (a.kColumn + width > k[2]) return mismatch("at least " + std::to_string(a.kColumn + width) + " key columns", u, k);
    if (a.vColumn + width > v[2]) return mismatch("at least " + std::to_string(a.vColumn + width) + " value columns", u, v);
    *y = Shape{q[0], q[1], width};
    return Status::good();
  }

  Status concat(const Unit& u, Shape* y) const {
    const Shape &a = input(u, 0), &b = input(u, 1);
    Shape expected = a;
    if (b.rank == a.rank && a.rank >= 1) expected[a.rank - 1] = b.channels();
    if (a.rank < 1 || b != expected) return mismatch(expected.text(), u, b);
    *y = a;
    (*y)[a.rank - 1] = a.channels() + b.channels();
    return Status::good();
  }

  Status loss(const Unit& u, Shape* y) const {
    const Shape& prediction = input(u, 0);
    if (prediction.rank < 2) return mismatch("samples of at least one number", u, prediction);
    if (input(u, 1) != prediction) return mismatch(prediction.text(), u, input(u, 1));
    const Shape samples{prediction[0]};
    if (u.op == Op::LossGradient && input(u, 2) != samples) return mismatch(samples.text(), u, input(u, 2));
    *y = u.op == Op::Loss ? samples : prediction;
    return Status::good();
  }

  // Where values are column ranges of one, their gradients are, and fill it.
  Status attentionGradient(const Unit& u, Shape* y) const {
    const Attributes& a = graph[u.attributes.of].attributes;
    const Unit& forward = graph[u.attributes.of];
    const int64_t width = a.heads * a.headDim;
    const bool one = forward.inputs[0] == forward.inputs[1];
    *y = input(u, u.attributes.keys ? 1 : 0);
    const int64_t whole = (one ? 3 : u.attributes.keys ? 2 : 1) * width;
    return y->channels() == whole ? Status::good() : mismatch(std::to_string(whole) + " columns", u, *y);
  }

  Status unit(const Unit& u, Shape* y) const {
    switch (u.op) {
      case Op::Input: return Status::good();
      case Op::Linear: return linear(u, y);
      case Op::Conv2d:
      case Op::CondConv: return conv2d(u, y);
      case Op::GroupNorm:
        ASDM_TRY(channels(u, weight(u, 0).shape.n));
        if (input(u, 0).rank != 4) return mismatch("[N,H,W,C]", u, input(u, 0));
        *y = input(u, 0);
        return Status::good();
      case Op::LayerNorm:
        ASDM_TRY(channels(u, weight(u, 0).shape.n));
        *y = input(u, 0);
        return Status::good();
      case Op::Attention: return attention(u, y);
      case Op::Geglu:
        *y = input(u, 0);
        if (y->rank < 1 || y->channels() % 2 != 0) return mismatch("an even width", u, *y);
        (*y)[y->rank - 1] /= 2;
        return Status::good();
      case Op::Activation: *y = input(u, 0); return Status::good();
      case Op::Add: *y = input(u, 0); return input(u, 1) == *y ? Status::good() : mismatch(y->text(), u, input(u, 1));
      case Op::Concat: return concat(u, y);
      case Op::Embed: {
        const Shape& ids = input(u, 0);
        const WeightShape& token = weight(u, 0).shape;
        const int64_t positions = weight(u, 1).shape.n;
        if (ids.rank != 2 || ids[1] > positions) return mismatch("[N,L] with L up to " + std::to_string(positions), u, ids);
        *y = Shape{ids[0], ids[1], token.channels};
        return Status::good();
      }
      case Op::Timestep:
        if (input(u, 0).rank != 1) return mismatch("[N]", u, input(u, 0));
        *y = Shape{input(u, 0)[0], u.attributes.dim};
        return Status::good();
      case Op::LinearWeightGradient:
      case Op::ConvWeightGradient: *y = Shape{1}; return Status::good();
      case Op::LinearInputGradient:
      case Op::ConvInputGradient: *y = shapes[static_cast<size_t>(graph[u.attributes.of].inputs[0])]; return Status::good();
      case Op::CondConvGradient:
      case Op::GroupNormGradient:
      case Op::LayerNormGradient:
      case Op::GegluGradient:
      case Op::ActivationGradient: *y = input(u, 0); return Status::good();
      case Op::AttentionGradient: return attentionGradient(u, y);
      case Op::Slice: *y = shapes[static_cast<size_t>(graph[u.attributes.of].inputs[u.attributes.second ? 1 : 0])]; return Status::good();
      case Op::SumRows: *y = Shape{input(u, 0)[0], input(u, 0).channels()}; return Status::good();
      case Op::Loss:
      case Op::LossGradient: return loss(u, y);
      case Op::ToChannelsLast:
      case Op::ToChannelsFirst: break;
    }
    return {Code::Internal, std::string("Expected no ") + opInfo(u.op).name + " in a graph but " + u.name + " is one"};
  }
};

Status bounded(const Unit& u, const Shape& shape) {
  double count = 1;
  for (int i = 0; i < shape.rank; i++) {
    if (shape[i] < 1) return mismatch("dimensions of at least 1", u, shape);
    count *= static_cast<double>(shape[i]);
  }
  if (count <= kMaxCount) return Status::good();
  return {Code::OutOfMemory, "Expected values that fit in memory but " + u.name + " would be " + shape.text()};
}

}  // namespace

Status inferShapes(const Graph& graph, const std::vector<Shape>& inputs, std::vector<Shape>* shapes) {
  shapes->assign(graph.units.size(), Shape());
  if (inputs.size() != graph.inputs.size())
    return {Code::Internal,
            "Expected " + std::to_string(graph.inputs.size()) + " input shapes but received " + std::to_string(inputs.size())};
  for (size_t i = 0; i < inputs.size(); i++) (*shapes)[static_cast<size_t>(graph.inputs[i])] = inputs[i];
  const Rules rules{graph, *shapes};
  for (size_t i = 0; i < graph.units.size(); i++) {
    const Unit& u = graph.units[i];
    Shape shape = (*shapes)[i];
    ASDM_TRY(rules.unit(u, &shape));
    ASDM_TRY(bounded(u, shape));
    (*shapes)[i] = shape;
  }
  return Status::good();
}

}  // namespace asdm

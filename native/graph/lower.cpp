// Units as kernel calls: attributes and shapes become the argument structs of backend/arguments.h, and back at a table's entry.
#include <cmath>

#include "graph/program.h"

namespace asdm {

namespace {

ConvArgs conv(const Unit& u, const WeightShape& w, const Shape& x, const Shape& y, const std::vector<Shape>& shapes) {
  const Attributes& at = u.attributes;
  ConvArgs a{};
  a.shape = w;
  a.ldRowBias = w.n;
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
    const Shape& like = shapes[static_cast<size_t>(at.sizeOf)];
    a.resizeH = like[1];
    a.resizeW = like[2];
  }
  a.padTop = a.padLeft = at.padBefore;
  a.outH = y[1];
  a.outW = y[2];
  return a;
}

StepArgs attention(const Attributes& at, const Shape& q, const Shape& k, const Shape& v) {
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

// As a call of its own would have them.
template <class Args>
Args argumentsOf(const Graph& graph, UnitId unit, const std::vector<Shape>& shapes) {
  const Step step = lowerUnit(graph, Fused{unit, unit}, shapes);
  return *std::get_if<Args>(&step.args);
}

LossArgs lossArgs(const Attributes& at, const Shape& prediction) {
  return {nullptr, nullptr, prediction[0], prediction.rows() / prediction[0], prediction.channels(), at.loss, nullptr};
}

}  // namespace

Step lowerUnit(const Graph& graph, const Fused& fused, const std::vector<Shape>& shapes) {
  const Unit& u = graph[fused.head];
  const Attributes& at = u.attributes;
  const auto shapeOf = [&](size_t input) -> const Shape& { return shapes[static_cast<size_t>(u.inputs[input])]; };
  Step step;
  step.op = u.op;
  step.unit = fused.head;
  step.result = fused.result;
  step.residual = fused.residual;
  for (size_t i = 0; i < u.inputs.size(); i++) step.operands[i] = u.inputs[i];
  for (size_t i = 0; i < u.weights.size(); i++) step.weights[i] = u.weights[i];
  const Shape& y = shapes[static_cast<size_t>(fused.head)];
  const Shape x = u.inputs.empty() ? y : shapeOf(0);
  switch (u.op) {
    case Op::Input: {  // on its way in; a sequence is channels last already, and only converted
      step.op = Op::ToChannelsLast;
      step.args = y.rank == 4 ? LayoutArgs{nullptr, y[0], y[3], y[1] * y[2], nullptr} : LayoutArgs{nullptr, 1, 1, y.count(), nullptr};
      break;
    }
    case Op::Linear: {
      LinearArgs a{};
      a.shape = graph.weights[static_cast<size_t>(u.weights[0])].shape;
      a.m = x.rows();
      a.ldx = x.channels();
      a.activation = fused.activation;
      a.gated = fused.gated;
      a.ldr = a.ldy = a.width();
      step.args = a;
      break;
    }
    case Op::Conv2d: step.args = conv(u, graph.weights[static_cast<size_t>(u.weights[0])].shape, x, y, shapes); break;
    case Op::CondConv:
      step.args = CondConvArgs{conv(u, graph.weights[static_cast<size_t>(u.weights[0])].shape, x, y, shapes), at.experts, at.routing,
                               nullptr, nullptr};
      break;
    case Op::GroupNorm:
      step.args = GroupNormArgs{nullptr, x[0], x[1] * x[2], x[3], at.groups, at.eps, nullptr, nullptr, at.silu, nullptr};
      break;
    case Op::LayerNorm: step.args = LayerNormArgs{nullptr, x.rows(), x.channels(), at.eps, nullptr, nullptr, nullptr}; break;
    case Op::Attention:
      step.args = attention(at, x, shapeOf(1), shapeOf(2));
      step.columns[0] = at.qColumn;
      step.columns[1] = at.kColumn;
      step.columns[2] = at.vColumn;
      break;
    case Op::Geglu: step.args = GegluArgs{nullptr, y.rows(), y.channels(), nullptr}; break;
    case Op::Activation: step.args = ActivationArgs{nullptr, y.count(), at.activation, nullptr}; break;
    case Op::Add: step.args = AddArgs{nullptr, nullptr, y.count(), nullptr}; break;
    case Op::Concat: step.args = ConcatArgs{nullptr, nullptr, y.rows(), x.channels(), shapeOf(1).channels(), nullptr}; break;
    case Op::Embed: step.args = EmbedArgs{nullptr, y[0], y[1], y[2], nullptr, nullptr, nullptr}; break;
    case Op::Timestep: step.args = TimestepArgs{nullptr, y[0], at.dim, at.flip, at.freqShift, nullptr}; break;
    case Op::LinearInputGradient: {
      const LinearArgs a = argumentsOf<LinearArgs>(graph, at.of, shapes);
      step.args = LinearInputGradientArgs{nullptr, a.m, a.shape, nullptr, nullptr};
      break;
    }
    case Op::LinearWeightGradient: {
      const LinearArgs a = argumentsOf<LinearArgs>(graph, at.of, shapes);
      step.args = LinearWeightGradientArgs{nullptr, nullptr, a.m, a.shape, nullptr, nullptr};
      break;
    }
    case Op::ConvInputGradient: step.args = ConvInputGradientArgs{argumentsOf<ConvArgs>(graph, at.of, shapes), nullptr, nullptr}; break;
    case Op::ConvWeightGradient:
      step.args = ConvWeightGradientArgs{argumentsOf<ConvArgs>(graph, at.of, shapes), nullptr, nullptr, nullptr};
      break;
    case Op::CondConvGradient:
      step.args =
          CondConvGradientArgs{argumentsOf<CondConvArgs>(graph, at.of, shapes), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
      break;
    case Op::GroupNormGradient:
      step.args = GroupNormGradientArgs{argumentsOf<GroupNormArgs>(graph, at.of, shapes), nullptr, nullptr, nullptr, nullptr};
      break;
    case Op::LayerNormGradient:
      step.args = LayerNormGradientArgs{argumentsOf<LayerNormArgs>(graph, at.of, shapes), nullptr, nullptr, nullptr, nullptr};
      break;
    case Op::AttentionGradient: {
      const Attributes& forward = graph[at.of].attributes;
      const bool one = graph[at.of].inputs[0] == graph[at.of].inputs[1];
      step.args = AttentionGradientArgs{
          argumentsOf<AttentionArgs>(graph, at.of, shapes), !at.keys, at.keys || one, nullptr, nullptr, nullptr, nullptr, nullptr};
      step.columns[0] = forward.qColumn;
      step.columns[1] = forward.kColumn;
      step.columns[2] = forward.vColumn;
      break;
    }
    case Op::GegluGradient: step.args = GegluGradientArgs{nullptr, nullptr, shapeOf(1).rows(), shapeOf(1).channels(), nullptr}; break;
    case Op::ActivationGradient: step.args = ActivationGradientArgs{nullptr, nullptr, y.count(), at.activation, nullptr}; break;
    case Op::Slice:
      step.args = SliceArgs{nullptr, x.rows(), x.channels(), at.second ? x.channels() - y.channels() : 0, y.channels(), nullptr};
      break;
    case Op::SumRows: step.args = SumRowsArgs{nullptr, x[0], x.rows() / x[0], x.channels(), nullptr}; break;
    case Op::Loss: step.args = lossArgs(at, x); break;
    case Op::LossGradient: step.args = LossGradientArgs{lossArgs(at, x), nullptr, nullptr}; break;
    case Op::ToChannelsLast:
    case Op::ToChannelsFirst: break;  // shape inference lets none through
  }
  return step;
}

bool stepScratch(const KernelTable& table, const Step& step, int threads, uint64_t* bytes) {
  return withKernel(table, step.op, step.args, [&](const auto& args, const auto& kernel) {
    *bytes = kernel.scratch != nullptr ? kernel.scratch(args, threads) : 0;
    return kernel.run != nullptr;
  });
}

}  // namespace asdm

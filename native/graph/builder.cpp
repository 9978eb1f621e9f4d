#include "graph/builder.h"

namespace asdm {

UnitId GraphBuilder::push(Unit unit) {
  const UnitId id = graph_.size();
  graph_.units.push_back(std::move(unit));
  return id;
}

WeightId GraphBuilder::weight(WeightRef ref) {
  graph_.weights.push_back(std::move(ref));
  return static_cast<WeightId>(graph_.weights.size()) - 1;
}

WeightId GraphBuilder::vector(const std::string& name, int64_t count) {
  return weight({WeightRole::Vector, {count, 1, 1}, {{name, {count}, count}}});
}

WeightId GraphBuilder::matrix(const std::string& name, std::vector<int64_t> shape) {
  const int64_t area = shape.size() == 4 ? shape[2] * shape[3] : 1, out = shape[0], in = shape[1];
  return weight({WeightRole::Matrix, {out, in, area}, {{name, std::move(shape), out}}});
}

UnitId GraphBuilder::input(const std::string& name, const InputShape& shape, DType dtype) {
  const UnitId id = push({name, Op::Input, {}, {}, {}, dtype});
  graph_.inputs.push_back(id);
  graph_.inputShapes.push_back(shape);
  return id;
}

UnitId GraphBuilder::linear(const std::string& name, UnitId x, int64_t in, int64_t out, bool bias) {
  std::vector<WeightId> weights{matrix(name + ".weight", {out, in})};
  if (bias) weights.push_back(vector(name + ".bias", out));
  return push({name, Op::Linear, {x}, std::move(weights), {}});
}

UnitId GraphBuilder::condConv(const std::string& name, UnitId x, int64_t in, int64_t out, int64_t kernel) {
  size_t i = 0;
  while (i < conditional_.size() && (made_[i] || conditional_[i].prefix != name)) i++;
  if (i == conditional_.size()) return kNoUnit;
  made_[i] = true;
  const int64_t experts = conditional_[i].experts;
  WeightRef kernels{WeightRole::Matrix,
                    {out, in, kernel * kernel},
                    {{name + ".experts.weight", {experts, out, in, kernel, kernel}, experts * out}},
                    experts};
  WeightRef biases{WeightRole::Vector, {experts * out, 1, 1}, {{name + ".experts.bias", {experts, out}, experts * out}}};
  WeightRef router{WeightRole::Vector, {experts * in, 1, 1}, {{name + ".router.weight", {experts, in}, experts * in}}};
  const WeightId w = weight(std::move(kernels)), b = weight(std::move(biases)), r = weight(std::move(router));
  Unit unit{name, Op::CondConv, {x}, {w, b, r, vector(name + ".router.bias", experts)}, {}};
  unit.attributes.kernel = kernel;
  unit.attributes.experts = experts;
  unit.attributes.routing = conditional_[i].router == "softmax" ? Routing::Softmax : Routing::Sigmoid;
  return push(std::move(unit));
}

const ConditionalConv* GraphBuilder::unmade() const {
  for (size_t i = 0; i < made_.size(); i++)
    if (!made_[i]) return &conditional_[i];
  return nullptr;
}

UnitId GraphBuilder::conv1x1(const std::string& name, UnitId x, int64_t in, int64_t out) {
  const UnitId conditional = condConv(name, x, in, out, 1);
  if (conditional != kNoUnit) return conditional;
  const WeightId w = matrix(name + ".weight", {out, in, 1, 1});
  return push({name, Op::Linear, {x}, {w, vector(name + ".bias", out)}, {}});
}

UnitId GraphBuilder::fusedLinear(const std::string& prefix, const std::vector<std::string>& parts, const std::string& unit, UnitId x,
                                 int64_t in, int64_t outEach, bool bias) {
  const int64_t out = outEach * static_cast<int64_t>(parts.size());
  WeightRef w{WeightRole::Matrix, {out, in, 1}, {}}, b{WeightRole::Vector, {out, 1, 1}, {}};
  for (const std::string& part : parts) {
    w.parts.push_back({prefix + part + ".weight", {outEach, in}, outEach});
    b.parts.push_back({prefix + part + ".bias", {outEach}, outEach});
  }
  std::vector<WeightId> weights{weight(std::move(w))};
  if (bias) weights.push_back(weight(std::move(b)));
  return push({prefix + unit, Op::Linear, {x}, std::move(weights), {}});
}

UnitId GraphBuilder::conv3x3(const std::string& name, UnitId x, int64_t in, int64_t out, UnitId rowBias, bool bias) {
  UnitId id = condConv(name, x, in, out, 3);
  if (id == kNoUnit) {
    std::vector<WeightId> weights{matrix(name + ".weight", {out, in, 3, 3})};
    if (bias) weights.push_back(vector(name + ".bias", out));
    id = push({name, Op::Conv2d, {x}, std::move(weights), {}});
  }
  Unit& unit = graph_.units[static_cast<size_t>(id)];
  if (rowBias != kNoUnit) unit.inputs.push_back(rowBias);
  unit.attributes.kernel = 3;
  unit.attributes.padBefore = unit.attributes.padAfter = 1;
  return id;
}

UnitId GraphBuilder::groupNorm(const std::string& name, UnitId x, int64_t channels, int64_t groups, double eps, bool silu) {
  const WeightId gamma = vector(name + ".weight", channels);
  Unit unit{name, Op::GroupNorm, {x}, {gamma, vector(name + ".bias", channels)}, {}};
  unit.attributes.groups = groups;
  unit.attributes.eps = static_cast<float>(eps);
  unit.attributes.silu = silu;
  return push(std::move(unit));
}

UnitId GraphBuilder::layerNorm(const std::string& name, UnitId x, int64_t channels, double eps) {
  const WeightId gamma = vector(name + ".weight", channels);
  Unit unit{name, Op::LayerNorm, {x}, {gamma, vector(name + ".bias", channels)}, {}};
  unit.attributes.eps = static_cast<float>(eps);
  return push(std::move(unit));
}

UnitId GraphBuilder::attention(const std::string& name, UnitId q, UnitId k, UnitId v, const Attributes& attributes) {
  return push({name, Op::Attention, {q, k, v}, {}, attributes});
}

UnitId GraphBuilder::geglu(const std::string& name, UnitId x) { return push({name, Op::Geglu, {x}, {}, {}}); }

UnitId GraphBuilder::activation(const std::string& name, UnitId x, Activation activation) {
  Unit unit{name, Op::Activation, {x}, {}, {}};
  unit.attributes.activation = activation;
  return push(std::move(unit));
}

UnitId GraphBuilder::add(const std::string& name, UnitId a, UnitId b) { return push({name, Op::Add, {a, b}, {}, {}}); }

UnitId GraphBuilder::concat(const std::string& name, UnitId a, UnitId b) { return push({name, Op::Concat, {a, b}, {}, {}}); }

UnitId GraphBuilder::embed(const std::string& prefix, UnitId ids, int64_t vocabulary, int64_t positions, int64_t width) {
  const std::string token = prefix + ".token_embedding.weight", position = prefix + ".position_embedding.weight";
  const WeightId t = weight({WeightRole::Table, {vocabulary, width, 1}, {{token, {vocabulary, width}, vocabulary}}});
  const WeightId p = weight({WeightRole::Table, {positions, width, 1}, {{position, {positions, width}, positions}}});
  return push({prefix, Op::Embed, {ids}, {t, p}, {}});
}

UnitId GraphBuilder::timestep(const std::string& name, UnitId t, int64_t dim, bool flip, double freqShift) {
  Unit unit{name, Op::Timestep, {t}, {}, {}};
  unit.attributes.dim = dim;
  unit.attributes.flip = flip;
  unit.attributes.freqShift = static_cast<float>(freqShift);
  return push(std::move(unit));
}

UnitId GraphBuilder::again(UnitId unit, const std::string& name, UnitId x) {
  Unit copy = graph_[unit];
  copy.name = name;
  copy.inputs[0] = x;
  return push(std::move(copy));
}

Status buildGraph(const ModelSpec& spec, Graph* graph) {
  switch (spec.kind) {
    case ModelKind::UNet: return buildUNet(spec.unet, graph);
    case ModelKind::VAEDecoder: return buildVAEDecoder(spec.vae, graph);
    case ModelKind::VAEEncoder: return buildVAEEncoder(spec.vae, graph);
    case ModelKind::TextEncoder: return buildTextEncoder(spec.textEncoder, graph);
  }
  return {Code::BadConfig, "Expected kind to be unet, vae_decoder, vae_encoder or text_encoder"};
}

}  // namespace asdm

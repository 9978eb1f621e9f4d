#include "graph/differentiate.h"

#include <algorithm>

namespace asdm {

namespace {

class Differentiation {
 public:
  Differentiation(Graph& graph, const std::vector<bool>& trained, const std::vector<UnitId>& inputs)
      : graph_(graph), trained_(trained), carries_(graph.units.size()), gradients_(graph.units.size()) {
    for (UnitId i : inputs) carries_[static_cast<size_t>(i)] = true;
    for (size_t u = 0; u < carries_.size(); u++) {
      const Unit& unit = graph.units[u];
      carries_[u] =
          carries_[u] || trains(unit) || std::any_of(unit.inputs.begin(), unit.inputs.end(), [&](UnitId in) { return carries(in); });
    }
  }

  bool carries(UnitId id) const { return carries_[static_cast<size_t>(id)]; }

  Status addLoss(const LossTerm& term, Differentiated* result) {
    if (!carries(term.prediction))
      return {Code::InvalidArgument, "Expected a trained weight behind " + graph_[term.prediction].name + ", on which the loss " +
                                         term.name + " is, but there is none"};
    const UnitId target = addInput(term.name + ".target"), weight = addInput(term.name + ".weight");
    Unit loss{term.name, Op::Loss, {term.prediction, target}, {}, {}};
    loss.attributes.loss = term.loss;
    Unit gradient{term.name + ".gradient", Op::LossGradient, {term.prediction, target, weight}, {}, loss.attributes};
    result->targets.push_back(target);
    result->weights.push_back(weight);
    result->losses.push_back(push(std::move(loss)));
    contribute(term.prediction, push(std::move(gradient)));
    return Status::good();
  }

  // Readers first: by the time of a unit all that its value's gradient is the sum of is there.
  Status walk() {
    for (UnitId u = static_cast<UnitId>(carries_.size()); u-- > 0;) {
      const UnitId dy = whole(u);
      if (dy != kNoUnit) ASDM_TRY(unit(u, dy));
    }
    return Status::good();
  }

  // The sum of what readers contributed, or kNoUnit where there is none.
  UnitId whole(UnitId id) {
    std::vector<UnitId>& parts = gradients_[static_cast<size_t>(id)];
    for (size_t i = 1; i < parts.size(); i++) parts[0] = push({graph_[id].name + ".gradient.sum", Op::Add, {parts[0], parts[i]}, {}, {}});
    if (parts.size() > 1) parts.resize(1);
    return parts.empty() ? kNoUnit : parts[0];
  }

  std::vector<UnitId> effects;

 private:
  bool trains(const Unit& unit) const {
    return std::any_of(unit.weights.begin(), unit.weights.end(), [&](WeightId w) { return trained_[static_cast<size_t>(w)]; });
  }

  UnitId push(Unit unit) {
    graph_.units.push_back(std::move(unit));
    return graph_.size() - 1;
  }

  UnitId addInput(const std::string& name) {
    const UnitId id = push({name, Op::Input, {}, {}, {}});
    graph_.inputs.push_back(id);
    return id;
  }

  void contribute(UnitId value, UnitId gradient) {
    if (carries(value)) gradients_[static_cast<size_t>(value)].push_back(gradient);
  }

  // A unit that computes a gradient of `of`.
  UnitId add(Op op, UnitId of, std::vector<UnitId> inputs, const char* suffix = ".gradient") {
    Unit gradient{graph_[of].name + suffix, op, std::move(inputs), graph_[of].weights, graph_[of].attributes};
    gradient.attributes.of = of;
    return push(std::move(gradient));
  }

  // A product's: of its weights, of its input, and of a row bias, whose rows are all pixels of a sample.
  void product(UnitId id, UnitId dy, Op input, Op weight) {
    const Unit u = graph_[id];
    if (trains(u)) effects.push_back(add(weight, id, {u.inputs[0], dy}, ".weight.gradient"));
    if (carries(u.inputs[0])) contribute(u.inputs[0], add(input, id, {dy}));
    rowBias(id, dy);
  }

  void rowBias(UnitId id, UnitId dy) {
    const Unit u = graph_[id];
    if (u.inputs.size() == 2 && carries(u.inputs[1])) contribute(u.inputs[1], push({u.name + ".rows.gradient", Op::SumRows, {dy}, {}, {}}));
  }

  // One that gives the gradient of input 0, and of its weights beside it.
  void both(UnitId id, UnitId dy, Op op) {
    const Unit u = graph_[id];
    const UnitId gradient = add(op, id, {u.inputs[0], dy});
    if (trains(u)) effects.push_back(gradient);
    contribute(u.inputs[0], gradient);
  }

  Status attention(UnitId id, UnitId dy) {
    const Unit u = graph_[id];
    const UnitId q = u.inputs[0], k = u.inputs[1], v = u.inputs[2];
    if (k != v) return unsupported(id, "keys and values of one product");
    const std::vector<UnitId> inputs{q, k, v, id, dy};
    if (carries(q)) contribute(q, add(Op::AttentionGradient, id, inputs));
    if (k != q && carries(k)) {
      const UnitId keys = add(Op::AttentionGradient, id, inputs, ".keys.gradient");
      graph_.units[static_cast<size_t>(keys)].attributes.keys = true;
      contribute(k, keys);
    }
    return Status::good();
  }

  Status unsupported(UnitId id, const char* expected) const {
    return {Code::UnsupportedConfig, std::string("Expected ") + expected + " to train through but " + graph_[id].name + " has none"};
  }

  Status unit(UnitId id, UnitId dy) {
    const Unit u = graph_[id];
    switch (u.op) {
      case Op::Input:
      case Op::Timestep: break;
      case Op::Linear: product(id, dy, Op::LinearInputGradient, Op::LinearWeightGradient); break;
      case Op::Conv2d: product(id, dy, Op::ConvInputGradient, Op::ConvWeightGradient); break;
      case Op::CondConv:
        both(id, dy, Op::CondConvGradient);
        rowBias(id, dy);
        break;
      case Op::GroupNorm: both(id, dy, Op::GroupNormGradient); break;
      case Op::LayerNorm: both(id, dy, Op::LayerNormGradient); break;
      case Op::Attention: return attention(id, dy);
      case Op::Geglu: both(id, dy, Op::GegluGradient); break;
      case Op::Activation: both(id, dy, Op::ActivationGradient); break;
      case Op::Add:
        contribute(u.inputs[0], dy);
        contribute(u.inputs[1], dy);
        break;
      case Op::Concat:
        for (size_t i = 0; i < 2; i++) {
          if (!carries(u.inputs[i])) continue;
          const UnitId slice = add(Op::Slice, id, {dy}, i == 0 ? ".first.gradient" : ".second.gradient");
          graph_.units[static_cast<size_t>(slice)].attributes.second = i == 1;
          contribute(u.inputs[i], slice);
        }
        break;
      default: return unsupported(id, "an op with a gradient");
    }
    return Status::good();
  }

  Graph& graph_;
  const std::vector<bool>& trained_;
  std::vector<bool> carries_;  // by unit of the graph as it was: does a trained weight reach its value?
  std::vector<std::vector<UnitId>> gradients_;
};

}  // namespace

Status differentiate(Graph* graph, const std::vector<LossTerm>& terms, const std::vector<bool>& trained, const std::vector<UnitId>& inputs,
                     Differentiated* result) {
  Graph made = *graph;
  Differentiated parts;
  Differentiation work(made, trained, inputs);
  for (const LossTerm& term : terms) ASDM_TRY(work.addLoss(term, &parts));
  ASDM_TRY(work.walk());
  for (UnitId input : inputs) {
    const UnitId gradient = work.whole(input);
    if (gradient == kNoUnit) return {Code::InvalidArgument, "Expected a loss to depend on " + made[input].name + " but none does"};
    parts.inputGradients.push_back(gradient);
  }
  parts.effects = std::move(work.effects);
  *graph = std::move(made);
  *result = std::move(parts);
  return Status::good();
}

}  // namespace asdm

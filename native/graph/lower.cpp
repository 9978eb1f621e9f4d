// Units as kernel calls: attributes and shapes become the argument structs of backend/arguments.h by each op's rule.
#include "graph/rules.h"

namespace asdm {

Step lowerUnit(const Graph& graph, const Fused& fused, const std::vector<Shape>& shapes) {
  const Unit& u = graph[fused.head];
  Step step;
  step.op = u.op == Op::Input ? Op::ToChannelsLast : u.op;
  step.unit = fused.head;
  step.result = fused.result;
  step.residual = fused.residual;
  for (size_t i = 0; i < u.inputs.size(); i++) step.operands[i] = u.inputs[i];
  for (size_t i = 0; i < u.weights.size(); i++) step.weights[i] = u.weights[i];
  step.columns[0] = u.attributes.qColumn;
  step.columns[1] = u.attributes.kColumn;
  step.columns[2] = u.attributes.vColumn;
  const Lowering lowering{{graph, shapes, u}, fused, shapes[static_cast<size_t>(fused.head)]};
  withOp(u.op, [&](auto op) { step.args = Rule<op()>::lower(lowering); });
  return step;
}

bool stepScratch(const KernelTable& table, const Step& step, int threads, uint64_t* bytes) {
  return withKernel(table, step.op, step.args, [&](auto, const auto& args, const auto& kernel) {
    *bytes = kernel.scratch != nullptr ? kernel.scratch(args, threads) : 0;
    return kernel.run != nullptr;
  });
}

}  // namespace asdm

#include "graph/cost.h"

#include <algorithm>
#include <iterator>

#include "graph/macs.h"

namespace asdm {

namespace {

uint64_t weightBytes(const Graph& graph, const KernelTable& table, const Program& program, const Step& step, WeightId id) {
  const WeightRef& weight = graph.weights[static_cast<size_t>(id)];
  if (weight.role == WeightRole::Matrix) return packedBytes(table, weight);
  const Shape& y = program.shapes[static_cast<size_t>(step.unit)];
  // A look-up reads the rows it was asked for, not the table.
  const int64_t numbers = weight.role == WeightRole::Table ? std::min(weight.count(), y.count()) : weight.count();
  return static_cast<uint64_t>(numbers * dtypeBytes(weight.role == WeightRole::Table ? table.activations : DType::F32));
}

}  // namespace

StepCost stepCost(const Graph& graph, const KernelTable& table, const Program& program, const Step& step) {
  StepCost cost;
  const bool moves = step.op == Op::ToChannelsLast || step.op == Op::ToChannelsFirst;
  if (!moves) cost.macs = unitMacs(graph, step.unit, program.shapes);
  for (WeightId id : step.weights)
    if (id != kNoWeight) cost.weightBytes += weightBytes(graph, table, program, step, id);
  // Values from outside and on their way out are the caller's, in float32.
  const auto bytes = [&](UnitId id, bool outside) {
    return static_cast<uint64_t>(outside ? program.shapes[static_cast<size_t>(id)].count() * 4 : program.valueBytes(id));
  };
  cost.valueBytes = opInfo(step.op).hasValue() ? bytes(step.result, step.out.kind == Place::Output) : 0;
  UnitId operands[Step::kOperands + 1] = {};
  std::copy(std::begin(step.operands), std::end(step.operands), operands);
  operands[Step::kOperands] = step.residual;
  for (UnitId* id = std::begin(operands); id != std::end(operands); ++id)
    if (*id != kNoUnit && std::find(std::begin(operands), id, *id) == id) cost.valueBytes += bytes(*id, false);
  if (step.op == Op::ToChannelsLast) cost.valueBytes += bytes(step.unit, true);
  return cost;
}

}  // namespace asdm

#include "graph/shapes.h"

#include "graph/rules.h"

namespace asdm {

namespace {

// 2^38 numbers are a terabyte: more than any machine runs, little enough for 64-bit arithmetic.
constexpr double kMaxCount = 274877906944.0;

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
  for (size_t i = 0; i < graph.units.size(); i++) {
    const Unit& u = graph.units[i];
    Shape shape = (*shapes)[i];
    ASDM_TRY(withOp(u.op, [&](auto op) { return Rule<op()>::shape(UnitShapes{graph, *shapes, u}, &shape); }));
    ASDM_TRY(bounded(u, shape));
    (*shapes)[i] = shape;
  }
  return Status::good();
}

}  // namespace asdm

// Shape rules of the op set. Kernels trust what passes here.
#pragma once

#include <vector>

#include "core/status.h"
#include "graph/graph.h"

namespace asdm {

// The shape of every unit's value, given those of graph.inputs in their order. Fails with ShapeMismatch, naming the unit, or with
// OutOfMemory when a value is too large to be addressed; then no product of dimensions in what follows can overflow.
Status inferShapes(const Graph& graph, const std::vector<Shape>& inputs, std::vector<Shape>* shapes);

}  // namespace asdm

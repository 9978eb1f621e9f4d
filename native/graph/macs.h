// How much arithmetic a unit is.
#pragma once

#include <vector>

#include "graph/graph.h"

namespace asdm {

// Multiply-accumulates of a unit's products (attention's two included; norms and element-wise work count as none); the largest
// value there is where they would overflow.
uint64_t unitMacs(const Graph& graph, UnitId id, const std::vector<Shape>& shapes);

}  // namespace asdm

// Which values keep, beside them, what rounding took from them.
#pragma once

#include <vector>

#include "graph/graph.h"

namespace asdm {

// Which units' values have a low part (backend/arguments.h), by unit; none have unless activations are bfloat16. Those have one that are
// added to another value or multiplied by float weights, sums and joined values that a norm reads, and what joined ones with a low part
// are put together from; of these, those whose kernels can write one. It follows from the graph alone, not from what a program runs of it,
// so that a value is the same in each pass that computes it.
std::vector<bool> lowParts(const Graph& graph, DType activations);

}  // namespace asdm

// Which units have to run for a set of outputs.
#pragma once

#include <vector>

#include "graph/graph.h"

namespace asdm {

struct Reach {
  std::vector<bool> run;   // needed and not inherited
  std::vector<bool> read;  // needed and inherited: values that must be there before
};

// A unit runs only if an output, or a running unit, reads it. An inherited unit gives its value and asks for none.
Reach reach(const Graph& graph, const std::vector<UnitId>& outputs, const std::vector<UnitId>& inherited);

}  // namespace asdm

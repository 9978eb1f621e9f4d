// Values of a graph that stay the same as long as certain inputs do: the keys and values that cross-attention makes of a text. A run
// computes them once for all its passes.
#pragma once

#include <vector>

#include "graph/program.h"

namespace asdm {

struct RequestConstants {
  // Where they lie in the run's kept memory: for passes of the whole batch, and of its second half.
  std::vector<KeptValue> whole, half;
  // What computes them.
  Program computeWhole, computeHalf;
  uint64_t bytes = 0;
  uint64_t macs = 0;  // of computeWhole
  bool any() const { return !whole.empty(); }
};

// Which units depend on graph.constantInputs alone.
std::vector<bool> constantUnits(const Graph& graph);

// Lays the constants out from `begin` on and compiles what computes them. halfInputs: empty where no pass runs half the batch.
// Fails as compile does.
Status compileConstants(const Graph& graph, const KernelTable& table, const std::vector<Shape>& inputs,
                        const std::vector<Shape>& halfInputs, int threads, uint64_t begin, RequestConstants* constants);

}  // namespace asdm

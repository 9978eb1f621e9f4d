// Forward passes that hand features on: for each pass a program, and which values lie in the memory kept between passes.
#pragma once

#include <vector>

#include "graph/inherit.h"
#include "graph/program.h"

namespace asdm {

struct RunStep {
  std::vector<Inherit> inherit;
  // Only the second half of the batch runs: guidance is off, the unconditional half has no part in this step.
  bool conditionalOnly = false;
};

struct RunRequest {
  std::vector<Shape> inputs;      // of graph.inputs at the whole batch
  std::vector<Shape> halfInputs;  // at half of it; empty when no step is conditionalOnly
  std::vector<RunStep> steps;
  int threads = 1;
};

struct InheritedValue {
  UnitId unit = kNoUnit;
  int source = 0;  // the step that computed it (of the conditional half, where the halves differ)
};

struct PlannedStep {
  size_t program = 0;
  uint64_t macs = 0;
  std::vector<InheritedValue> inherited;
};

struct RunPlan {
  std::vector<Program> programs;  // distinct ones
  std::vector<PlannedStep> steps;
  uint64_t keptBytes = 0;
  uint64_t fullMacs = 0;
};

// Decides per step what runs (reverse reachability from the output, stopped at inherited values), which step each inherited value
// comes from (the last one that computed it; the two halves of the batch separately), and keeps only what a later step reads.
// Fails with InvalidArgument, naming prefix and step, where a value has no source; and as compile does.
Status compileRun(const Graph& graph, const KernelTable& table, const RunRequest& request, RunPlan* plan);

}  // namespace asdm

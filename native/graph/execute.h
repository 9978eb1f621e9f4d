// Runs a program forward on a backend's kernels.
#pragma once

#include <atomic>
#include <vector>

#include "graph/program.h"
#include "weights/store.h"

namespace asdm {

struct RunBindings {
  std::vector<const void*> inputs;  // of graph.inputs, in PyTorch's layout; null for those the program does not read
  std::vector<float*> outputs;      // of program.outputs
  std::byte* kept = nullptr;        // for values that outlive the program; null where it has none
  std::byte* arena = nullptr;       // program.arenaBytes + program.scratchBytes, 64-byte aligned
  // Where each weight's gradient is added up, laid out as the weight is; null for those that are not trained, and empty where none is.
  std::vector<float*> gradients = {};
  // For tests: before each call its result, unless in place, and the scratch are filled with NaN, which shows whatever reads
  // memory before it was written, or writes over a value that is still needed.
  bool poison = false;
  // The seconds that each step of the program took go here, if it is set; it must have room for all of them.
  double* seconds = nullptr;
};

// Fails with Aborted when cancel turns true before the end; outputs are then unspecified.
Status execute(const Program& program, const KernelTable& table, const WeightStore& weights, const RunBindings& bindings,
               ThreadPool& pool, const std::atomic<bool>& cancel);

}  // namespace asdm

// Runs a program forward on a device's kernels.
#pragma once

#include <atomic>
#include <vector>

#include "backend/device.h"
#include "graph/program.h"

namespace asdm {

// Where everything lies: addresses that the device's kernels reach.
struct RunBindings {
  std::vector<const void*> inputs;   // of graph.inputs, in PyTorch's layout; null for those the program does not read
  std::vector<void*> outputs;        // of program.outputs, floats
  std::vector<const void*> weights;  // of graph.weights
  std::byte* kept = nullptr;         // for values that outlive the program; null where it has none
  std::byte* arena = nullptr;        // program.arenaBytes + program.scratchBytes
  // Where each weight's gradient is added up, laid out as the weight is; null for those that are not trained, and empty where none is.
  std::vector<float*> gradients = {};
  // For tests: before each call its result, unless in place, and the scratch are filled with NaN, which shows whatever reads
  // memory before it was written, or writes over a value that is still needed.
  bool poison = false;
  // The seconds that each step of the program took go here, if it is set; it must have room for all of them.
  double* seconds = nullptr;
};

// Issues the program's calls and waits for their end. Fails with Aborted when cancel turns true before it, outputs being unspecified then, and as
// Queue::finish does.
Status execute(const Program& program, const KernelTable& table, const RunBindings& bindings, Queue& queue,
               const std::atomic<bool>& cancel);

}  // namespace asdm

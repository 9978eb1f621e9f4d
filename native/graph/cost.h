// What a kernel call has to do at least: the arithmetic and the memory that a roofline is drawn of.
#pragma once

#include "graph/program.h"

namespace asdm {

struct StepCost {
  uint64_t macs = 0;         // multiply-accumulates, as unitMacs counts them
  uint64_t weightBytes = 0;  // of its weights, as packed
  uint64_t valueBytes = 0;   // of the distinct values it reads, and of the one it writes
};

StepCost stepCost(const Graph& graph, const KernelTable& table, const Program& program, const Step& step);

}  // namespace asdm

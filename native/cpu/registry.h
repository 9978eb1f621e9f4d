// Which kernel sets were compiled in, which this machine can run, and their tables.
#pragma once

#include <string>
#include <vector>

#include "backend/kernels.h"
#include "core/status.h"

namespace asdm::cpu {

// Names of the sets compiled in, best first.
std::vector<std::string> compiledSets();
// Those that CPU and operating system support, best first; never empty ("portable" runs everywhere).
std::vector<std::string> usableSets();
// The table of a set for a number format: F32, BF16, or I8, whose activations are BF16 and whose weights may be of either format.
// "auto": the environment variable ASDM_CPU if set, else the best usable one.
// Fails with UnknownCpu when the name is unknown or the machine cannot run it; never falls back silently.
Status kernels(const std::string& name, DType dtype, const KernelTable** table);
// Whether a set's kernels for this number format are its own, not another set's (cpu/sets.def). false where there is no such set.
bool hasOwnKernels(const std::string& name, DType dtype);
// Whether the best usable set multiplies numbers of this format faster than float32: by instructions for it, not by widening.
bool isFast(DType dtype);

}  // namespace asdm::cpu

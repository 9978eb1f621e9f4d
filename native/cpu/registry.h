// Which kernel sets were compiled in, which this machine can run, and their tables.
#pragma once

#include <string>
#include <vector>

#include "backend/kernels.h"
#include "core/status.h"

namespace asdm::cpu {

// Names of the sets compiled in, best first.
std::vector<std::string> compiledSets();
// Those that processor and operating system support, best first; never empty ("portable" runs everywhere).
std::vector<std::string> usableSets();
// The float32 table of a set. "auto": the environment variable ASDM_CPU if set, else the best usable one.
// Fails with UnknownCpu when the name is unknown or the machine cannot run it; never falls back silently.
Status kernels(const std::string& name, const KernelTable** table);

}  // namespace asdm::cpu

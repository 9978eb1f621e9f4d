// Kernels that break the emulation's rules one by one, each beside one that just does not.
#pragma once

#include <string>

namespace asdm::cuda::testing {

// Runs the kernel of that name on the emulated card; false where there is none. The fault is in the machine then.
bool runBroken(const std::string& name);

}  // namespace asdm::cuda::testing

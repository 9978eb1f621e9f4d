// What the machine can hold. Systems that overcommit hand out more all the same, and end the process when it is written to.
#pragma once

#include <cstdint>

namespace asdm {

// Physical memory, or the container's limit where that is lower; UINT64_MAX if unknown.
uint64_t memoryLimit();

}  // namespace asdm

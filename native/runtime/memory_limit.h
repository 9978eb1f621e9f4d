// Refuses allocations that the machine cannot hold. Systems that overcommit hand them out all the same, and end the process when
// they are written to.
#pragma once

#include <cstdint>
#include <string>

#include "core/status.h"

namespace asdm {

// Physical memory, or the container's limit where that is lower; UINT64_MAX if unknown.
uint64_t memoryLimit();

// Fails with OutOfMemory when `bytes` for `what` exceed the limit.
Status checkMemory(double bytes, const char* what);
Status outOfMemory(double bytes, const char* what);

}  // namespace asdm

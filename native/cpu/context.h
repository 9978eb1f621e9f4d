// Where a CPU kernel runs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/thread_pool.h"
#include "cpu/tasks.h"  // for the bodies, which are within a set's target region and must not define what is none of it

namespace asdm::cpu {

constexpr int64_t kPackRows = 64;  // a multiple of every set's panels

// Scratch of the size the kernel's own scratch function gave, 64-byte aligned.
struct KernelContext {
  ThreadPool& pool;
  std::byte* scratch;
};

}  // namespace asdm::cpu

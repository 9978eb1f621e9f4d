// What this machine's CPU does at most, which kernels are measured against.
#pragma once

#include <cstdint>
#include <string>

#include "core/status.h"
#include "core/tensor.h"

namespace asdm::cpu {

// Operations per second (a multiply-accumulate is two) of all threads together, the best of slices of `ms` in all. F32, BF16 or I8 as
// the machine does it best in the register width of the kernel set; 0 where it has no instruction for it. Fails with UnknownCpu.
Status measurePeak(DType dtype, const std::string& set, int threads, int ms, double* perSecond);

// Bytes per second, read and written ones together, of threads that each copy their part of a block of `bytes`, half of it source and
// half target, again and again: small blocks stay in caches. The best of slices of `ms` in all. Fails with OutOfMemory.
Status measureCopy(uint64_t bytes, int threads, int ms, double* perSecond);

}  // namespace asdm::cpu

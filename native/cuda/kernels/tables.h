// The kernel tables of the CUDA sets: "sm80" for cards with tensor cores for bfloat16 and bytes and with cp.async (Ampere and later),
// "sm75" for any other (Turing): the same contracts on plain arithmetic.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "backend/kernels.h"

namespace asdm::cuda {

// Best first.
std::vector<std::string> kernelSets();
// Null where there is no such set. dtype: F32, BF16 or I8, whose activations are BF16.
const KernelTable* kernelTable(const std::string& set, DType dtype);

}  // namespace asdm::cuda

// Kernel sets for tests alone: those for tile registers (set amx), on emulated ones.
#pragma once

#include <string>
#include <vector>

#include "backend/kernels.h"

namespace asdm::testing {

// Names of those that this machine can run.
std::vector<std::string> tileSets();
// The table of one for BF16 or I8; null if there is none of that name, or for that format.
const KernelTable* tileTable(const std::string& set, DType dtype);

// Their tables by format, from the file of each.
const KernelTable* emulatedPortableTable(DType dtype);  // vectors in plain C++, and their attention: runs everywhere
const KernelTable* emulatedAvx512Table(DType dtype);    // all as in set amx; null where the CPU lacks its vectors

}  // namespace asdm::testing

// Stored numbers to float. Sources are little-endian, as safetensors says, and so is every machine asdm is built for.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/tensor.h"

namespace asdm {

// to[i] = from[i], exact: F32, F16 (IEEE binary16, subnormals too) or BF16. `from` may be unaligned, and may be `to` for F32.
void convertToFloat(DType dtype, const void* from, size_t count, float* to);

// Whether all are numbers: no infinity, no NaN.
bool allFinite(const float* values, size_t count);

}  // namespace asdm

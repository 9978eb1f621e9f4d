// Weights in the order that the kernels read: rows of output features, k ordered tap first, zeros up to a multiple of 64 bytes. Done by the
// host, a few rows at a time, on their way to the card.
#pragma once

#include "backend/kernels.h"

namespace asdm::cuda {

// How a product's weights are kept on the card: as bytes, floats or bfloat16.
DType keptAs(const WeightShape& shape, DType activations);
// Of a row; behind all rows of bytes lie their scales, then the sums of their numbers.
int64_t rowBytes(const WeightShape& shape, DType activations);
size_t packedBytes(const WeightShape& shape, DType activations);

// Rows first.. of `a` to `to`; of bytes their scales and sums to those, else null. False if a number is not finite.
bool packRows(const PackArgs& a, DType activations, unsigned char* to, float* scales, int32_t* sums);
// Numbers as kept. False likewise.
bool convertNumbers(const NumbersArgs& a);

}  // namespace asdm::cuda

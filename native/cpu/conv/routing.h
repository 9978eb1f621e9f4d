// The router of a conditional convolution, behind the pooling (cond_conv.inc.h): plain arithmetic that every kernel set shares.
#pragma once

#include "backend/kernels.h"

namespace asdm::cpu {

// Pixels that one pooling task sums.
constexpr int64_t kPoolRows = 256;

// The parts of scratch that come before the product's.
struct RoutingScratch {
  float* sums;      // [n, pieces, c]: sums over pieces of kPoolRows pixels
  float* rates;     // [n, experts]
  float* bias;      // [n, co]
  int32_t* alike;   // [n]
  int32_t* single;  // [n]
};

// How many pixels the pooling looks at (those of the resized input, unless it is enlarged evenly, which changes no mean) and in how many
// pieces.
struct Pooling {
  int64_t height, width, pieces;
};
Pooling poolingOf(const ConvArgs& conv) noexcept;

// Lays the parts out from `scratch` on and gives their bytes, a multiple of 64; out may be null.
size_t layOutRouting(const CondConvArgs& a, std::byte* scratch, RoutingScratch* out) noexcept;

// Of one sample, from its sums: rates [experts], single, and the mixed bias. In double, rounded once.
void route(const CondConvArgs& a, int64_t sample, const RoutingScratch& s) noexcept;
// After all samples' rates are there: alike[i] is the first sample with the rates of sample i.
void findAlike(int64_t samples, int64_t experts, const RoutingScratch& s) noexcept;

}  // namespace asdm::cpu

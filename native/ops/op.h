// The facts of ops.def by op.
#pragma once

#include <cstdint>

namespace asdm {

enum class Op : uint8_t {
#define ASDM_OP(name, ...) name,
#include "ops/ops.def"
};

// Which low parts (backend/arguments.h) an op has to do with.
enum class LowParts : uint8_t {
  None,
  Product,  // writes one, reads the residual's; x's where its weights are wide (WeightFormat::F32)
  Norm,     // reads x's
  Sum,      // reads both inputs', writes one
  Join,     // the same, but reads only where its own is wanted
};

// How multiply-accumulates are counted (graph/macs.cpp).
enum class Arithmetic : uint8_t {
  None,
  Product,
  Mixture,
  Attention,
  Gradient,  // as the unit's that this is a gradient of
  Effect,    // the same; there is no value, what is computed goes to the weights' gradients
};

struct OpInfo {
  const char* name;
  int fewestInputs, mostInputs;
  unsigned overwrites;  // bit i: the output may take input i's memory, if their sizes agree
  LowParts lowParts;
  Arithmetic arithmetic;
  // A product by weights, whose kernel can take in what follows: an activation, a gate, a sum.
  bool isProduct() const { return lowParts == LowParts::Product; }
  bool hasValue() const { return arithmetic != Arithmetic::Effect; }
};

inline const OpInfo& opInfo(Op op) {
  static constexpr OpInfo kInfo[] = {
#define ASDM_OP(name, fewest, most, overwrites, low, arithmetic, args, kernel) \
  {#name, fewest, most, overwrites, LowParts::low, Arithmetic::arithmetic},
#include "ops/ops.def"
  };
  return kInfo[static_cast<int>(op)];
}

}  // namespace asdm

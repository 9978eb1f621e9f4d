// Names and arities of ops.def.
#pragma once

#include <cstdint>

namespace asdm {

enum class Op : uint8_t {
#define ASDM_OP(name, fewest, most, overwrites) name,
#include "ops/ops.def"
#undef ASDM_OP
};

struct OpInfo {
  const char* name;
  int fewestInputs, mostInputs;
  unsigned overwrites;  // bit i: the output may take input i's memory, if their sizes agree
};

inline const OpInfo& opInfo(Op op) {
  static constexpr OpInfo kInfo[] = {
#define ASDM_OP(name, fewest, most, overwrites) {#name, fewest, most, overwrites},
#include "ops/ops.def"
#undef ASDM_OP
  };
  return kInfo[static_cast<int>(op)];
}

}  // namespace asdm

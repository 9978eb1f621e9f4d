// The most arithmetic a core can do: multiply-accumulates on registers alone. Kernels are measured against it.
#pragma once

#include <cstdint>
#include <string>

#include "core/tensor.h"
#include "cpu/target.h"

namespace asdm::cpu {

// Independent chains of a set's widest multiply-accumulate, on registers alone: `rounds` turns of the chains.
struct PeakKernel {
  void (*run)(int64_t rounds) noexcept = nullptr;  // null: the set has no instruction for this format
  int64_t macs = 0;                                // in one round
};

#define ASDM_CPU_SET(set, feature) \
  namespace set {                  \
  PeakKernel peak(DType dtype);    \
  }
ASDM_CPU_SET(portable, portable)
#if defined(ASDM_X86)
ASDM_CPU_SET(avx2, avx2)
ASDM_CPU_SET(avx512, avx512)
#if defined(ASDM_HAS_AMX)
ASDM_CPU_SET(amx, amx)
#endif
#endif
#if defined(ASDM_ARM64)
ASDM_CPU_SET(neon, neon)
#endif
#undef ASDM_CPU_SET

// Of a kernel set, in its register width, as this machine does the format best.
PeakKernel peakKernel(const std::string& set, DType dtype);

}  // namespace asdm::cpu

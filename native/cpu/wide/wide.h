// Products of bfloat16 activations with float weights (WeightFormat::F32), in float: for the few layers whose roundings the whole
// model would feel. Contracts in backend/arguments.h (LinearArgs, ConvArgs).
//
// The left rows are widened as they are copied, low parts added; cpu/gemm multiplies floats, into scratch; a last pass adds what
// the activations' formats concern and rounds. Twice the time of products of bfloat16 pairs, where a set has those.
#pragma once

#include "backend/kernels.h"
#include "cpu/context.h"
#include "cpu/target.h"

#define ASDM_DECLARE_WIDE(set)                                       \
  namespace asdm::cpu::set {                                         \
  void wideLinear(const LinearArgs&, KernelContext&) noexcept;       \
  size_t wideLinearScratch(const LinearArgs&, int threads) noexcept; \
  void wideConv(const ConvArgs&, KernelContext&) noexcept;           \
  size_t wideConvScratch(const ConvArgs&, int threads) noexcept;     \
  }

ASDM_DECLARE_WIDE(portable)
#if defined(ASDM_X86)
ASDM_DECLARE_WIDE(avx2)
ASDM_DECLARE_WIDE(avx512)
#endif
#if defined(ASDM_ARM64)
ASDM_DECLARE_WIDE(neon)
#endif
#undef ASDM_DECLARE_WIDE

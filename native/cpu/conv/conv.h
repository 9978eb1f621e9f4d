// Convolution on channels-last images in float32; contract in backend/kernels.h (ConvArgs).
//
// Direct: a product whose left row is an output pixel's neighbourhood, gathered a tile and a k block at a time (cpu/gemm), so the
// [pixels, taps * channels] matrix never exists. Padding and the nearest-neighbour resize are part of the gathering.
#pragma once

#include "backend/kernels.h"
#include "cpu/target.h"

#define ASDM_DECLARE_CONV(set)                               \
  namespace asdm::cpu::set {                                 \
  void conv(const ConvArgs&, KernelContext&) noexcept;       \
  size_t convScratch(const ConvArgs&, int threads) noexcept; \
  }

ASDM_DECLARE_CONV(portable)
#if defined(ASDM_X86)
ASDM_DECLARE_CONV(avx2)
ASDM_DECLARE_CONV(avx512)
#endif
#if defined(ASDM_ARM64)
ASDM_DECLARE_CONV(neon)
#endif
#undef ASDM_DECLARE_CONV

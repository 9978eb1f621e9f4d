// Convolution on channels-last images; contract in backend/kernels.h (ConvArgs).
//
// Direct: a product whose left row is an output pixel's neighbourhood, gathered a tile and a k block at a time (cpu/gemm), so the
// [pixels, taps * channels] matrix never exists. E is the activations' type, float or Bf16; set avx512bf16 has those for Bf16 only. Padding and the nearest-neighbour resize are part of the gathering.
#pragma once

#include "backend/kernels.h"
#include "cpu/target.h"

#define ASDM_DECLARE_CONV(set)                               \
  namespace asdm::cpu::set {                                 \
  template <class E>                                         \
  void conv(const ConvArgs&, KernelContext&) noexcept;       \
  template <class E>                                         \
  size_t convScratch(const ConvArgs&, int threads) noexcept; \
  }

ASDM_DECLARE_CONV(portable)
#if defined(ASDM_X86)
ASDM_DECLARE_CONV(avx2)
ASDM_DECLARE_CONV(avx512)
ASDM_DECLARE_CONV(avx512bf16)
#endif
#if defined(ASDM_ARM64)
ASDM_DECLARE_CONV(neon)
#endif
#undef ASDM_DECLARE_CONV

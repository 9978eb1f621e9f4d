// Convolution on channels-last images; contract in backend/arguments.h (ConvArgs). E is the activations' type, float or Bf16; set
// avx512bf16 has those for Bf16 only.
//
// Direct: a product whose left row is an output pixel's neighbourhood, gathered a tile and a k block at a time (cpu/gemm), so the
// [pixels, taps * channels] matrix never exists. Padding and the nearest-neighbour resize are part of the gathering.
// Winograd: 3x3 by steps of 1 in a quarter of the multiplications (winograd.inc.h), from the same packed weights, at two to three
// times the rounding error of float. conv takes it where it wins (winograd.h).
#pragma once

#include "cpu/kernels.h"

#define ASDM_DECLARE_CONV(set)                                       \
  namespace asdm::cpu::set {                                         \
  template <class E>                                                 \
  void directConv(const ConvArgs&, KernelContext&) noexcept;         \
  template <class E>                                                 \
  size_t directConvScratch(const ConvArgs&, int threads) noexcept;   \
  template <class E>                                                 \
  void winogradConv(const ConvArgs&, KernelContext&) noexcept;       \
  template <class E>                                                 \
  size_t winogradConvScratch(const ConvArgs&, int threads) noexcept; \
  }

ASDM_DECLARE_CONV(portable)
#if defined(ASDM_X86)
ASDM_DECLARE_CONV(avx2)
ASDM_DECLARE_CONV(avx512)
ASDM_DECLARE_CONV(avx512bf16)
#if defined(ASDM_HAS_AMX)
ASDM_DECLARE_CONV(amx)
#endif
#endif
#if defined(ASDM_ARM64)
ASDM_DECLARE_CONV(neon)
#endif
#undef ASDM_DECLARE_CONV

// Convolution on channels-last images; contract in backend/arguments.h (ConvArgs). E is the activations' type, float or Bf16; set
// avx512bf16 has those for Bf16 only.
//
// Direct: a product whose left row is an output pixel's neighbourhood, gathered a tile and a k block at a time (cpu/gemm), so the
// [pixels, taps * channels] matrix never exists. Padding and the nearest-neighbour resize are part of the gathering.
// Winograd: 3x3 by steps of 1 in a quarter of the multiplications (winograd.inc.h), from the same packed weights, at two to three
// times the rounding error of float. conv takes it where it wins (winograd.h).
#pragma once

#include "backend/kernels.h"
#include "cpu/context.h"
#include "cpu/target.h"

#define ASDM_DECLARE_CONV(set)                                       \
  namespace asdm::cpu::set {                                         \
  template <class E>                                                 \
  void conv(const ConvArgs&, KernelContext&) noexcept;               \
  template <class E>                                                 \
  size_t convScratch(const ConvArgs&, int threads) noexcept;         \
  template <class E>                                                 \
  void directConv(const ConvArgs&, KernelContext&) noexcept;         \
  template <class E>                                                 \
  size_t directConvScratch(const ConvArgs&, int threads) noexcept;   \
  template <class E>                                                 \
  void winogradConv(const ConvArgs&, KernelContext&) noexcept;       \
  template <class E>                                                 \
  size_t winogradConvScratch(const ConvArgs&, int threads) noexcept; \
  template <class E>                                                 \
  void condConv(const CondConvArgs&, KernelContext&) noexcept;       \
  template <class E>                                                 \
  size_t condConvScratch(const CondConvArgs&, int threads) noexcept; \
  }

// Gradients are those of floats.
#define ASDM_DECLARE_CONV_GRADIENTS(set)                                                 \
  namespace asdm::cpu::set {                                                             \
  void convInputGradient(const ConvInputGradientArgs&, KernelContext&) noexcept;         \
  size_t convInputGradientScratch(const ConvInputGradientArgs&, int threads) noexcept;   \
  void convWeightGradient(const ConvWeightGradientArgs&, KernelContext&) noexcept;       \
  size_t convWeightGradientScratch(const ConvWeightGradientArgs&, int threads) noexcept; \
  void condConvGradient(const CondConvGradientArgs&, KernelContext&) noexcept;           \
  size_t condConvGradientScratch(const CondConvGradientArgs&, int threads) noexcept;     \
  }

ASDM_DECLARE_CONV(portable)
ASDM_DECLARE_CONV_GRADIENTS(portable)
#if defined(ASDM_X86)
ASDM_DECLARE_CONV(avx2)
ASDM_DECLARE_CONV_GRADIENTS(avx2)
ASDM_DECLARE_CONV(avx512)
ASDM_DECLARE_CONV_GRADIENTS(avx512)
ASDM_DECLARE_CONV(avx512bf16)
#if defined(ASDM_HAS_AMX)
ASDM_DECLARE_CONV(amx)
#endif
#endif
#if defined(ASDM_ARM64)
ASDM_DECLARE_CONV(neon)
ASDM_DECLARE_CONV_GRADIENTS(neon)
#endif
#undef ASDM_DECLARE_CONV
#undef ASDM_DECLARE_CONV_GRADIENTS

// Group norm (with SiLU) and layer norm for every kernel set. Contracts: GroupNormArgs and LayerNormArgs in backend/arguments.h.
//
// Statistics hold where |mean| is far above the deviation: within a chunk of rows (a row) the mean comes first and deviations are
// taken from it in a second pass over cached data; chunks and channels are combined in double (Chan, Golub & LeVeque 1979). The
// mean is also taken off before the scaling, in two parts, so that the output does not lose what the statistics kept. Group norm of
// bfloat16 takes deviations from the mean of the chunk's first rows instead, and reads the chunk once.
// Threads: a task per chunk of fixed size, so threads change nothing. Rounding: the scale rstd * gamma is rounded once, the output
// after one fused multiply and add.
//
// E is the activations' type, float or Bf16; set avx512bf16 has those for Bf16 only.
#pragma once

#include "backend/kernels.h"
#include "core/bf16.h"
#include "cpu/context.h"
#include "cpu/target.h"

#define ASDM_DECLARE_NORM(set)                                         \
  namespace asdm::cpu::set {                                           \
  template <class E>                                                   \
  void groupNorm(const GroupNormArgs&, KernelContext&) noexcept;       \
  size_t groupNormScratch(const GroupNormArgs&, int threads) noexcept; \
  template <class E>                                                   \
  void layerNorm(const LayerNormArgs&, KernelContext&) noexcept;       \
  }

// Training's kernels are those of floats.
#define ASDM_DECLARE_NORM_TRAINING(set)                                                \
  namespace asdm::cpu::set {                                                           \
  void groupNormGradient(const GroupNormGradientArgs&, KernelContext&) noexcept;       \
  size_t groupNormGradientScratch(const GroupNormGradientArgs&, int threads) noexcept; \
  void layerNormGradient(const LayerNormGradientArgs&, KernelContext&) noexcept;       \
  size_t layerNormGradientScratch(const LayerNormGradientArgs&, int threads) noexcept; \
  }

ASDM_DECLARE_NORM(portable)
ASDM_DECLARE_NORM_TRAINING(portable)
#if defined(ASDM_X86)
ASDM_DECLARE_NORM(avx2)
ASDM_DECLARE_NORM_TRAINING(avx2)
ASDM_DECLARE_NORM(avx512)
ASDM_DECLARE_NORM_TRAINING(avx512)
ASDM_DECLARE_NORM(avx512bf16)
#endif
#if defined(ASDM_ARM64)
ASDM_DECLARE_NORM(neon)
ASDM_DECLARE_NORM_TRAINING(neon)
#endif
#undef ASDM_DECLARE_NORM
#undef ASDM_DECLARE_NORM_TRAINING

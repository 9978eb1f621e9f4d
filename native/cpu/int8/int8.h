// Products with 8-bit weights (WeightFormat::I8) and bfloat16 activations; contracts in backend/arguments.h (LinearArgs, ConvArgs).
//
// Weights: one scale per output feature, w = scale * q, q in -127..127, scale = max |w| / 127. A feature whose weights are not all
// finite has scale NaN, and gives NaN.
// Activations are quantised as they come, x = scale * (u - zero), u in 0..255: the range from min(x, 0) to max(x, 0) is cut into
// 255 steps, so that 0 (a convolution's padding) is met exactly and SiLU's outputs do not waste half of the codes. A linear layer
// has a range for each row, a convolution one for each sample: every tap of a pixel's sum must have the same scale. So a row's or
// sample's result does not depend on its neighbours. A range below 1e-30 counts as zeros; a row or sample with NaN or infinity in
// it gives NaN everywhere.
// Sums are exact: sum (u - zero) q = sum u q - zero * sum q in 32-bit integers, which hold it up to k = 65536 (graph/formats.h). So all sets have the
// same sums, whatever their instructions; y = float(sum) * weight's scale * row's scale, then bias, activation and residual in
// float, one by one, and one rounding to bfloat16.
//
// Packed weights: for each block of k, for each panel of output features: [k of the block / kSlot][panel width][kSlot], kSlot input
// features side by side as the set's instruction wants them, zeros at the end of k. Then [panels * width] float scales, then as
// many sums of q.
#pragma once

#include "backend/kernels.h"
#include "cpu/context.h"
#include "cpu/target.h"

#define ASDM_DECLARE_INT8(set)                                   \
  namespace asdm::cpu::set::int8 {                               \
  size_t packedBytes(const WeightShape&) noexcept;               \
  bool pack(const PackArgs&) noexcept;                           \
  void linear(const LinearArgs&, KernelContext&) noexcept;       \
  size_t linearScratch(const LinearArgs&, int threads) noexcept; \
  void conv(const ConvArgs&, KernelContext&) noexcept;           \
  size_t convScratch(const ConvArgs&, int threads) noexcept;     \
  }

ASDM_DECLARE_INT8(portable)
#if defined(ASDM_X86)
ASDM_DECLARE_INT8(avx2)
#if defined(ASDM_HAS_AVXVNNI)
ASDM_DECLARE_INT8(avxvnni)
#endif
ASDM_DECLARE_INT8(avx512)
ASDM_DECLARE_INT8(avx512vnni)
ASDM_DECLARE_INT8(avx512bf16)
#if defined(ASDM_HAS_AMX)
ASDM_DECLARE_INT8(amx)
#endif
#endif
#if defined(ASDM_ARM64)
ASDM_DECLARE_INT8(neon)
ASDM_DECLARE_INT8(neondot)
#endif
#undef ASDM_DECLARE_INT8

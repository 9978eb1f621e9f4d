// All of a set's products in int8 but the inner loop. Include after the vocabulary, math.inc.h, and the set's sizes and integer words.
#pragma once

namespace asdm::cpu::ASDM_SET::int8 {
ASDM_INLINE int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
ASDM_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Slots of k that are multiplied together; k is filled up with zeros to a multiple of them.
#if defined(ASDM_TILES)
constexpr int kWhole = 16;
#else
constexpr int kWhole = 1;
#endif
}  // namespace asdm::cpu::ASDM_SET::int8

#include "cpu/int8/quantize.inc.h"
#include "cpu/int8/tile.inc.h"
#if defined(ASDM_TILES)
#include "cpu/gemm/amx_kernels.inc.h"
#else
#include "cpu/gemm/tile_kernels.inc.h"
#endif
#include "cpu/int8/pack.inc.h"
#include "cpu/int8/product.inc.h"
#include "cpu/int8/conv.inc.h"

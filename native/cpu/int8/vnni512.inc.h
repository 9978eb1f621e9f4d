// What 512-bit sets with VNNI share: `vpdpbusd` multiplies four bytes a lane. Include after vec/avx512.h in a region with avx512vnni.
#pragma once

namespace asdm::cpu::ASDM_SET::int8 {

// 14 x 32: 28 sums, two vectors of weights and a broadcast slot fill 31 of the 32 registers.
constexpr int kMr = 14;
constexpr int kNv = 2;
constexpr int kSlot = 4;
// As in gemm/avx512.cpp in bytes: 8 tiles of 2560 bytes (290 KB), as much of the next, and a panel (80 KB) share 1 MB of L2.
constexpr int64_t kKc = 2560;
constexpr int64_t kMaxTiles = 8;
constexpr int64_t kMaxPanels = 40;
constexpr int kUnroll = 4;
constexpr int64_t kPrefetch = 2048;
using Left = uint8_t;
constexpr int kLeftOffset = 0;

}  // namespace asdm::cpu::ASDM_SET::int8

#include "cpu/int8/words512.inc.h"

namespace asdm::cpu::ASDM_SET::int8 {

ASDM_INLINE vi viRight(const int8_t* b) { return _mm512_loadu_si512(b); }
ASDM_INLINE vi viDot(vi sum, vi left, vi right) { return _mm512_dpbusd_epi32(sum, left, right); }

}  // namespace asdm::cpu::ASDM_SET::int8

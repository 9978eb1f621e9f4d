// The register tile of this set and its sizes. Include after the vocabulary and math.inc.h.
#pragma once

namespace asdm::cpu::avx512 {
// 14 x 32: 28 sums, two vectors of weights and a broadcast value fill 31 of the 32 registers.
constexpr int kMr = 14;
constexpr int kNv = 2;
// 640 divides most of SD's channel counts; 8 tiles of 640 (290 KB), as much of the next, and a panel (80 KB) share 1 MB of L2.
constexpr int64_t kKc = 640;
constexpr int64_t kMaxTiles = 8;
constexpr int64_t kMaxPanels = 40;
constexpr int kUnroll = 4;
constexpr int64_t kPrefetch = 512;
}  // namespace asdm::cpu::avx512

#include "cpu/gemm/tile.inc.h"
#include "cpu/gemm/register_tile.inc.h"

// The register tile of this set and its sizes. Include after the vocabulary and math.inc.h.
#pragma once

namespace asdm::cpu::avx2 {
// 6 x 16: 12 sums, two vectors of weights and a broadcast value fill 15 of the 16 registers.
constexpr int kMr = 6;
constexpr int kNv = 2;
constexpr int64_t kKc = 512;
constexpr int64_t kMaxTiles = 24;
constexpr int64_t kMaxPanels = 40;
constexpr int kUnroll = 8;
constexpr int64_t kPrefetch = 256;
}  // namespace asdm::cpu::avx2

#include "cpu/gemm/tile.inc.h"
#include "cpu/gemm/register_tile.inc.h"

// The register tile of this set and its sizes. Include after the vocabulary and math.inc.h.
#pragma once

namespace asdm::cpu::neon {
// 6 x 16: 24 sums, four vectors of weights and a broadcast value fill 29 of the 32 registers.
constexpr int kMr = 6;
constexpr int kNv = 4;
constexpr int64_t kKc = 512;
constexpr int64_t kMaxTiles = 20;
constexpr int64_t kMaxPanels = 40;
constexpr int kUnroll = 4;
constexpr int64_t kPrefetch = 512;
}  // namespace asdm::cpu::neon

#include "cpu/gemm/tile.inc.h"
#include "cpu/gemm/register_tile.inc.h"

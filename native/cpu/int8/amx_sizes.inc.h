// Sizes of sets with tile registers; see gemm/amx_tile.inc.h, whose bytes these are. Include after the words for tile registers.
#pragma once

#include "cpu/gemm/tile_registers.inc.h"

namespace asdm::cpu::ASDM_SET::int8 {

constexpr int kMr = 32;
constexpr int kNv = 32 / kVf;
constexpr int kSlot = 4;
constexpr int64_t kKc = 1024;
constexpr int64_t kMaxTiles = 16;
constexpr int64_t kMaxPanels = 16;
using Left = uint8_t;
constexpr int kLeftOffset = 0;

}  // namespace asdm::cpu::ASDM_SET::int8

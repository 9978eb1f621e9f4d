// The tile of sets with tile registers, and its sizes. Include after the vocabulary, math.inc.h and the words for tile registers.
#pragma once

namespace asdm::cpu::ASDM_SET {
// 32 x 32, see tile_registers.inc.h.
constexpr int kMr = 32;
constexpr int kNv = 32 / kVf;
// A panel of 256 pairs of k is 32 KB of the 48 KB of first-level cache. Between blocks of k a tile's sums go to memory and back, 128 lines
// beside the 512 of left rows in some 1024 cycles of products: the second level is then busy two thirds of the time.
constexpr int64_t kKc = 256;
// 16 tiles of copied rows (560 KB) and their sums for 16 panels (1 MB) share 2 MB of second-level cache; a panel that comes from further
// away serves 16 thousand cycles of products.
constexpr int64_t kMaxTiles = 16;
constexpr int64_t kMaxPanels = 16;
}  // namespace asdm::cpu::ASDM_SET

#include "cpu/gemm/tile.inc.h"
#include "cpu/gemm/amx_kernels.inc.h"

namespace asdm::cpu::ASDM_SET {

// Tile::nextStep is always this.
constexpr int64_t kNextStep = kTileBytes / kSide;

}  // namespace asdm::cpu::ASDM_SET

// What the instruction LDTILECFG reads: the shapes of the eight tile registers (Intel's Software Developer's Manual, volume 2).
#pragma once

#include <cstdint>

namespace asdm::cpu {

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t startRow = 0;
  uint8_t reserved[14] = {};
  uint16_t rowBytes[16] = {};  // at most 64; 0 with 0 rows: the register is not used
  uint8_t rows[16] = {};       // at most 16
};
static_assert(sizeof(TileConfig) == 64, "the CPU reads 64 bytes");

}  // namespace asdm::cpu

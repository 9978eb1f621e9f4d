// The words for tile registers (cpu/vec/README.md) by emulated ones. Include with ASDM_SET defined, and tile_emulation.h included before.
#pragma once

#include "cpu/hints.h"

namespace asdm::cpu::ASDM_SET {

ASDM_INLINE asdm::testing::TileRegisters& tileRegisters() { return asdm::testing::TileRegisters::ofThisThread(); }

ASDM_INLINE void trFence() {}
ASDM_INLINE void trConfigure(const TileConfig& config) { tileRegisters().configure(config); }
ASDM_INLINE void trRelease() { tileRegisters().release(); }
template <int T>
ASDM_INLINE void trZero() {
  tileRegisters().zero(T);
}
template <int T>
ASDM_INLINE void trLoad(const void* p, int64_t stride) {
  tileRegisters().load(T, p, stride);
}
template <int T>
ASDM_INLINE void trStream(const void* p, int64_t stride) {
  tileRegisters().load(T, p, stride);
}
template <int T>
ASDM_INLINE void trStore(void* p, int64_t stride) {
  tileRegisters().store(T, p, stride);
}
template <int C>
ASDM_INLINE void trDotBf16() {
  tileRegisters().dotBf16(C, 4 + C / 2, 6 + C % 2);
}
template <int C>
ASDM_INLINE void trDotBytes() {
  tileRegisters().dotBytes(C, 4 + C / 2, 6 + C % 2);
}

}  // namespace asdm::cpu::ASDM_SET

// Words for tile registers, as Intel's AMX has them; see README.md. Include inside a target region with ASDM_SET defined, and <atomic>
// included before.
#pragma once

#include "cpu/hints.h"
#include "cpu/vec/tile_config.h"

namespace asdm::cpu::ASDM_SET {

// Compilers are not told what memory some of these instructions read (GCC's header names 8 of the 64 bytes for one, nothing for
// another), so they could put off writing it.
ASDM_INLINE void trFence() { std::atomic_signal_fence(std::memory_order_seq_cst); }

ASDM_NOINLINE inline void trConfigure(const TileConfig& config) {
  trFence();
  _tile_loadconfig(&config);
}
ASDM_INLINE void trRelease() { _tile_release(); }

// A register's number is part of the instruction, and some compilers take it as text.
#define ASDM_OF_TILE(word)            \
  if constexpr (T == 0) word(0);      \
  else if constexpr (T == 1) word(1); \
  else if constexpr (T == 2) word(2); \
  else if constexpr (T == 3) word(3); \
  else if constexpr (T == 4) word(4); \
  else if constexpr (T == 5) word(5); \
  else if constexpr (T == 6) word(6); \
  else word(7)

template <int T>
ASDM_INLINE void trZero() {
#define ASDM_WORD(tile) _tile_zero(tile)
  ASDM_OF_TILE(ASDM_WORD);
#undef ASDM_WORD
}
template <int T>
ASDM_INLINE void trLoad(const void* p, int64_t stride) {
#define ASDM_WORD(tile) _tile_loadd(tile, p, static_cast<size_t>(stride))
  ASDM_OF_TILE(ASDM_WORD);
#undef ASDM_WORD
}
template <int T>
ASDM_INLINE void trStream(const void* p, int64_t stride) {
#define ASDM_WORD(tile) _tile_stream_loadd(tile, p, static_cast<size_t>(stride))
  ASDM_OF_TILE(ASDM_WORD);
#undef ASDM_WORD
}
template <int T>
ASDM_INLINE void trStore(void* p, int64_t stride) {
#define ASDM_WORD(tile) _tile_stored(tile, p, static_cast<size_t>(stride))
  ASDM_OF_TILE(ASDM_WORD);
#undef ASDM_WORD
}
#undef ASDM_OF_TILE

template <int C>
ASDM_INLINE void trDotBf16() {
  if constexpr (C == 0) _tile_dpbf16ps(0, 4, 6);
  else if constexpr (C == 1) _tile_dpbf16ps(1, 4, 7);
  else if constexpr (C == 2) _tile_dpbf16ps(2, 5, 6);
  else _tile_dpbf16ps(3, 5, 7);
}
template <int C>
ASDM_INLINE void trDotBytes() {
  if constexpr (C == 0) _tile_dpbusd(0, 4, 6);
  else if constexpr (C == 1) _tile_dpbusd(1, 4, 7);
  else if constexpr (C == 2) _tile_dpbusd(2, 5, 6);
  else _tile_dpbusd(3, 5, 7);
}

}  // namespace asdm::cpu::ASDM_SET

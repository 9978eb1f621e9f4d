// The register tile of this set and its sizes. Include after the vocabulary and math.inc.h.
#pragma once

namespace asdm::cpu::portable {
constexpr int kMr = 4;
constexpr int kNv = 4;
constexpr int64_t kKc = 256;
constexpr int kUnroll = 4;
constexpr int64_t kMaxTiles = 32;
constexpr int64_t kMaxPanels = 80;
}  // namespace asdm::cpu::portable

#include "cpu/gemm/tile.inc.h"
#include "cpu/gemm/tile_kernels.inc.h"

namespace asdm::cpu::portable {

constexpr int64_t kNextStep = kCacheLine / kUnroll;  // as in register_tile.inc.h, but nothing fetches ahead

// Compilers do not keep the portable vectors in vector registers, but they do vectorise a plain loop over a row of sums. Four steps
// of k per turn, one after the other, so that a sum is loaded and stored once for four products.
template <class E, int R, int V>
ASDM_INLINE void accumulate(const Tile<E>& t, vf (&sum)[R][V]) {
  constexpr int kWidth = V * kVf;
  float s[R][kWidth] = {};
  int64_t k = 0;
  for (; k + 4 <= t.steps; k += 4) {
    const E* const b = t.b + k * kNr;
    for (int r = 0; r < R; r++) {
      const float* const a = t.a + r * kStride + k;
      const float a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
      for (int j = 0; j < kWidth; j++) {
        float x = s[r][j];
        x += a0 * toFloat(b[j]);
        x += a1 * toFloat(b[kNr + j]);
        x += a2 * toFloat(b[2 * kNr + j]);
        x += a3 * toFloat(b[3 * kNr + j]);
        s[r][j] = x;
      }
    }
  }
  for (; k < t.steps; k++)
    for (int r = 0; r < R; r++)
      for (int j = 0; j < kWidth; j++) s[r][j] += t.a[r * kStride + k] * toFloat(t.b[k * kNr + j]);
  std::memcpy(sum, s, sizeof s);
}

}  // namespace asdm::cpu::portable

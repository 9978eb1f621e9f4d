#include "cpu/int8/int8.h"
#include "core/bf16.h"
#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"

#include "cpu/sets/portable_begin.h"
#include "cpu/vec/math.inc.h"

namespace asdm::cpu::portable::int8 {
constexpr int kMr = 4;
constexpr int kNv = 4;
constexpr int kSlot = 1;
constexpr int64_t kKc = 512;
constexpr int64_t kMaxTiles = 32;
constexpr int64_t kMaxPanels = 80;
using Left = int16_t;
constexpr int kLeftOffset = 0;
}  // namespace asdm::cpu::portable::int8

#include "cpu/int8/words_portable.inc.h"

#include "cpu/int8/bodies.inc.h"

namespace asdm::cpu::portable::int8 {

// A plain loop over a row of sums, which compilers vectorise; products of 16-bit numbers are what the baseline has.
template <int R, int V>
ASDM_INLINE void accumulate(const Tile& t, vi (&sum)[R][V]) {
  constexpr int kWidth = V * kVf;
  int32_t s[R][kWidth] = {};
  for (int64_t k = 0; k < t.steps; k++) {
    const int8_t* const b = t.b + k * kNr;
    int16_t right[kWidth];
    for (int j = 0; j < kWidth; j++) right[j] = b[j];
    for (int r = 0; r < R; r++) {
      const int16_t left = t.a[r * kStride + k];
      for (int j = 0; j < kWidth; j++) s[r][j] += left * right[j];
    }
  }
  std::memcpy(sum, s, sizeof s);
}

}  // namespace asdm::cpu::portable::int8
#include "cpu/sets/end.h"

#include "cpu/int8/int8.h"
#include "core/bf16.h"
#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_X86)

#include "cpu/sets/avx512_begin.h"
#include "cpu/vec/math.inc.h"

namespace asdm::cpu::avx512::int8 {
// 14 x 32: 28 sums, two vectors of weights, a slot and a product fill the 32 registers.
constexpr int kMr = 14;
constexpr int kNv = 2;
// Pairs of 16-bit numbers: the instruction for bytes saturates its sums.
constexpr int kSlot = 2;
constexpr int64_t kKc = 1280;
constexpr int64_t kMaxTiles = 8;
constexpr int64_t kMaxPanels = 40;
constexpr int kUnroll = 4;
constexpr int64_t kPrefetch = 1024;
using Left = int16_t;
constexpr int kLeftOffset = 0;
}  // namespace asdm::cpu::avx512::int8

#include "cpu/int8/words512.inc.h"

namespace asdm::cpu::avx512::int8 {
ASDM_INLINE vi viRight(const int8_t* b) { return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(b))); }
ASDM_INLINE vi viDot(vi sum, vi left, vi right) {
  sum = viAdd(sum, _mm512_madd_epi16(left, right));
  ASDM_IN_ORDER(sum);
  return sum;
}
}  // namespace asdm::cpu::avx512::int8

#include "cpu/int8/bodies.inc.h"
#include "cpu/int8/register_tile.inc.h"
#include "cpu/sets/end.h"

#endif

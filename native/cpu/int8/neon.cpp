#include "cpu/int8/int8.h"
#include "core/bf16.h"
#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_ARM64)

#include "cpu/sets/neon_begin.h"
#include "cpu/vec/math.inc.h"

namespace asdm::cpu::neon::int8 {
// 6 x 16: 24 sums, four vectors of weights and a slot fill 29 of the 32 registers.
constexpr int kMr = 6;
constexpr int kNv = 4;
constexpr int kSlot = 2;
constexpr int64_t kKc = 1024;
constexpr int64_t kMaxTiles = 20;
constexpr int64_t kMaxPanels = 40;
constexpr int kUnroll = 4;
constexpr int64_t kPrefetch = 512;
using Left = int16_t;
constexpr int kLeftOffset = 0;
}  // namespace asdm::cpu::neon::int8

#include "cpu/int8/words_neon.inc.h"

namespace asdm::cpu::neon::int8 {
ASDM_INLINE vi viRight(const int8_t* b) { return vreinterpretq_s32_s16(vmovl_s8(vld1_s8(b))); }
ASDM_INLINE vi viDot(vi sum, vi left, vi right) {
  const int16x8_t a = vreinterpretq_s16_s32(left), b = vreinterpretq_s16_s32(right);
  sum = vaddq_s32(sum, vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b)));
  ASDM_IN_ORDER(sum);
  return sum;
}
}  // namespace asdm::cpu::neon::int8

#include "cpu/int8/bodies.inc.h"
#include "cpu/int8/register_tile.inc.h"
#include "cpu/sets/end.h"

#endif

#include "cpu/int8/int8.h"
#include "core/bf16.h"
#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_ARM64)

#include "cpu/sets/neondot_begin.h"
#include "cpu/vec/math.inc.h"

namespace asdm::cpu::neondot::int8 {
// 6 x 16: 24 sums, four vectors of weights and a slot fill 29 of the 32 registers.
constexpr int kMr = 6;
constexpr int kNv = 4;
constexpr int kSlot = 4;
constexpr int64_t kKc = 2048;
constexpr int64_t kMaxTiles = 20;
constexpr int64_t kMaxPanels = 40;
constexpr int kUnroll = 4;
constexpr int64_t kPrefetch = 512;
using Left = int8_t;
constexpr int kLeftOffset = 128;
}  // namespace asdm::cpu::neondot::int8

#include "cpu/int8/words_neon.inc.h"

namespace asdm::cpu::neondot::int8 {
ASDM_INLINE vi viRight(const int8_t* b) { return vreinterpretq_s32_s8(vld1q_s8(b)); }
ASDM_INLINE vi viDot(vi sum, vi left, vi right) { return vdotq_s32(sum, vreinterpretq_s8_s32(left), vreinterpretq_s8_s32(right)); }
}  // namespace asdm::cpu::neondot::int8

#include "cpu/int8/bodies.inc.h"
#include "cpu/int8/register_tile.inc.h"
#include "cpu/sets/end.h"

#endif

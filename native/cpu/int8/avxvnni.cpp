#include "cpu/int8/int8.h"
#include "core/bf16.h"
#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_X86) && defined(ASDM_HAS_AVXVNNI)

#include "cpu/sets/avxvnni_begin.h"
#include "cpu/vec/math.inc.h"

namespace asdm::cpu::avxvnni::int8 {
// 6 x 16: 12 sums, two vectors of weights and a slot fill 15 of the 16 registers.
constexpr int kMr = 6;
constexpr int kNv = 2;
constexpr int kSlot = 4;
constexpr int64_t kKc = 2048;
constexpr int64_t kMaxTiles = 24;
constexpr int64_t kMaxPanels = 40;
constexpr int kUnroll = 8;
constexpr int64_t kPrefetch = 1024;
using Left = uint8_t;
constexpr int kLeftOffset = 0;
}  // namespace asdm::cpu::avxvnni::int8

#include "cpu/int8/words256.inc.h"

namespace asdm::cpu::avxvnni::int8 {
ASDM_INLINE vi viRight(const int8_t* b) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b)); }
ASDM_INLINE vi viDot(vi sum, vi left, vi right) { return _mm256_dpbusd_avx_epi32(sum, left, right); }
}  // namespace asdm::cpu::avxvnni::int8

#include "cpu/int8/bodies.inc.h"
#include "cpu/int8/register_tile.inc.h"
#include "cpu/sets/end.h"

#endif

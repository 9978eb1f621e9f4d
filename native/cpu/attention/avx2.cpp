#include "cpu/attention/attention.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_X86)

#include "cpu/sets/avx2_begin.h"

namespace asdm::cpu::ASDM_SET {
// 4 x 3 accumulators, three query vectors and one broadcast: all 16 registers. headDim is a multiple of 4 in practice.
constexpr int kKeyTile = 4, kValueTile = 4, kMaxVectors = 3;
constexpr int64_t kCoreMacs = 20'000'000;  // per ms

ASDM_INLINE void vzip(vf& a, vf& b) {
  const vf even = _mm256_unpacklo_ps(a, b), odd = _mm256_unpackhi_ps(a, b);
  a = _mm256_permute2f128_ps(even, odd, 0x20);
  b = _mm256_permute2f128_ps(even, odd, 0x31);
}

}  // namespace asdm::cpu::ASDM_SET

#include "cpu/attention/weight.inc.h"
#include "cpu/attention/state.inc.h"
#include "cpu/attention/transpose.inc.h"
#include "cpu/attention/tiles.inc.h"
#include "cpu/attention/attention.inc.h"
#include "cpu/attention/gradient.inc.h"
#include "cpu/attention/instantiate.inc.h"
#include "cpu/sets/end.h"

#endif

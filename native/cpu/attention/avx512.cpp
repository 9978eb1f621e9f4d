#include "cpu/attention/attention.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_X86)

#include "cpu/sets/avx512_begin.h"

namespace asdm::cpu::ASDM_SET {
// 8 x 3 accumulators of 32 registers; 11 loads for 24 multiply-adds.
constexpr int kKeyTile = 8, kValueTile = 8, kMaxVectors = 3;
constexpr int64_t kCoreMacs = 40'000'000;  // per ms

ASDM_INLINE void vzip(vf& a, vf& b) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const vf lower = _mm512_permutex2var_ps(a, low, b);
  b = _mm512_permutex2var_ps(a, high, b);
  a = lower;
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

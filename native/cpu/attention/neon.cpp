#include "cpu/attention/attention.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_ARM64)

#include "cpu/sets/neon_begin.h"

namespace asdm::cpu::ASDM_SET {
// 8 x 3 accumulators of 32 registers.
constexpr int kKeyTile = 8, kValueTile = 8, kMaxVectors = 3;
constexpr int64_t kCoreMacs = 15'000'000;  // per ms

ASDM_INLINE void vzip(vf& a, vf& b) {
  const vf lower = vzip1q_f32(a, b);
  b = vzip2q_f32(a, b);
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

#include "cpu/attention/attention.h"
#include "cpu/intrinsics.h"

#include "cpu/sets/portable_begin.h"

namespace asdm::cpu::ASDM_SET {
// 4 x 2 accumulators of four lanes leave half of a baseline x86's 16 registers for operands and products (it has no FMA).
constexpr int kKeyTile = 4, kValueTile = 4, kMaxVectors = 2;
constexpr int64_t kCoreMacs = 3'000'000;  // per ms

ASDM_INLINE void vzip(vf& a, vf& b) {
  const vf lower = {{a.lane[0], b.lane[0], a.lane[1], b.lane[1]}}, upper = {{a.lane[2], b.lane[2], a.lane[3], b.lane[3]}};
  a = lower;
  b = upper;
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

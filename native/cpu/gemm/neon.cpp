#include "cpu/gemm/gemm.h"

#if defined(ASDM_ARM64)

#include <cmath>
#include <cstdint>
#include <arm_neon.h>

#define ASDM_SET neon
#include "cpu/vec/neon.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"

namespace asdm::cpu::neon {
// 6 x 16: 24 sums, four vectors of weights and a broadcast value fill 29 of the 32 registers.
constexpr int kMr = 6;
constexpr int kNv = 4;
constexpr int64_t kKc = 512;
constexpr int64_t kMaxTiles = 20;
constexpr int64_t kMaxPanels = 40;
constexpr int kUnroll = 4;
constexpr int64_t kPrefetch = 512;
}  // namespace asdm::cpu::neon

#include "cpu/gemm/tile.inc.h"
#include "cpu/gemm/register_tile.inc.h"
#include "cpu/gemm/gemm.inc.h"
#include "cpu/gemm/instantiate.inc.h"

#endif

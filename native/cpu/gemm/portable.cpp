#include "cpu/gemm/gemm.h"

#include <cmath>
#include <cstdint>
#include <cstring>

#define ASDM_SET portable
#include "cpu/vec/portable.h"
#include "cpu/vec/math.inc.h"

namespace asdm::cpu::portable {
// 4 x 8 as four-lane vectors: 8 sums, two vectors of weights and a value, for 16 baseline registers.
constexpr int kMr = 4;
constexpr int kNv = 2;
constexpr int64_t kKc = 256;
constexpr int64_t kMaxTiles = 32;
constexpr int64_t kMaxPanels = 80;
constexpr int64_t kPrefetch = 512;
}  // namespace asdm::cpu::portable

#include "cpu/gemm/tile.inc.h"
#include "cpu/gemm/gemm.inc.h"


#include "cpu/attention/attention.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_X86)

#include "cpu/sets/avx512bf16_begin.h"

namespace asdm::cpu::ASDM_SET {
// 8 x 3 accumulators of 32 registers; 11 loads for 24 instructions that multiply.
constexpr int kKeyTile = 8, kValueTile = 8, kMaxVectors = 3;
constexpr int64_t kCoreMacs = 60'000'000;  // per ms
}  // namespace asdm::cpu::ASDM_SET

#include "cpu/attention/pairs512.inc.h"
#include "cpu/attention/weight.inc.h"
#include "cpu/attention/state.inc.h"
#include "cpu/attention/transpose.inc.h"
#include "cpu/attention/attention.inc.h"
#include "cpu/attention/pairs.inc.h"
#include "cpu/attention/pair_products.inc.h"
#include "cpu/attention/instantiate.inc.h"
#include "cpu/sets/end.h"

#endif

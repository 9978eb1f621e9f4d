#include "cpu/attention/attention.h"

#if defined(ASDM_X86)

#include <cmath>
#include <cstdint>
#include <immintrin.h>
#include <limits>

ASDM_TARGET_BEGIN(ASDM_AVX512_FEATURES)
#define ASDM_SET avx512
#include "cpu/vec/avx512.h"

namespace asdm::cpu::ASDM_SET {
// 8 x 3 accumulators of 32 registers; 11 loads for 24 multiply-adds.
constexpr int kKeyTile = 8, kValueTile = 8, kMaxVectors = 3;
constexpr int64_t kCoreMacs = 40'000'000;  // per ms
}  // namespace asdm::cpu::ASDM_SET

#include "cpu/attention/weight.inc.h"
#include "cpu/attention/tiles.inc.h"
#include "cpu/attention/attention.inc.h"
ASDM_TARGET_END

#endif

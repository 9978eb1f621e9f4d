#include "cpu/conv/conv.h"
#include "cpu/gemm/gemm.h"

#if defined(ASDM_X86)

#include <cmath>
#include <cstdint>
#include <cstring>
#include <immintrin.h>

ASDM_TARGET_BEGIN(ASDM_AVX512BF16_FEATURES)
#define ASDM_SET avx512bf16
#define ASDM_VEC_BF16
#include "cpu/vec/avx512.h"
#include "cpu/vec/element.inc.h"
#include "cpu/conv/conv.inc.h"
#include "cpu/conv/instantiate.inc.h"
ASDM_TARGET_END

#endif

#include "cpu/gemm/gemm.h"
#include "cpu/wide/wide.h"

#if defined(ASDM_X86)

#include <cmath>
#include <cstdint>
#include <cstring>
#include <immintrin.h>

ASDM_TARGET_BEGIN(ASDM_AVX2_FEATURES)
#define ASDM_SET avx2
#include "cpu/vec/avx2.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/wide/wide.inc.h"
ASDM_TARGET_END

#endif

#include "cpu/conv/conv.h"
#include "cpu/gemm/gemm.h"

#if defined(ASDM_X86)

#include <cmath>
#include <cstdint>
#include <immintrin.h>

ASDM_TARGET_BEGIN(ASDM_AVX512_FEATURES)
#define ASDM_SET avx512
#include "cpu/vec/avx512.h"
#include "cpu/vec/element.inc.h"
#include "cpu/conv/conv.inc.h"
#include "cpu/conv/instantiate.inc.h"
ASDM_TARGET_END

#endif

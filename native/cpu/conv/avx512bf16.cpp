#include "cpu/conv/conv.h"
#include "cpu/conv/winograd.h"
#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_X86)

ASDM_TARGET_BEGIN(ASDM_AVX512BF16_FEATURES)
#define ASDM_SET avx512bf16
#define ASDM_VEC_BF16
#include "cpu/vec/avx512.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/gemm/avx512bf16_tile.inc.h"
#include "cpu/gemm/packed.inc.h"
#include "cpu/conv/conv.inc.h"
#include "cpu/conv/cond_conv.inc.h"
#include "cpu/conv/instantiate.inc.h"
ASDM_TARGET_END

#endif

#include "cpu/int8/int8.h"
#include "core/bf16.h"
#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_X86)

ASDM_TARGET_BEGIN(ASDM_AVX512BF16_FEATURES)
#define ASDM_SET avx512bf16
#define ASDM_VEC_BF16
#include "cpu/vec/avx512.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/int8/vnni512.inc.h"
#include "cpu/int8/bodies.inc.h"
#include "cpu/int8/register_tile.inc.h"
ASDM_TARGET_END

#endif

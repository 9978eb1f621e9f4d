#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"
#include "cpu/wide/wide.h"

#if defined(ASDM_X86)

ASDM_TARGET_BEGIN(ASDM_AVX2_FEATURES)
#define ASDM_SET avx2
#include "cpu/vec/avx2.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/wide/wide.inc.h"
ASDM_TARGET_END

#endif

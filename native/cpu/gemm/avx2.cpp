#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_X86)

ASDM_TARGET_BEGIN(ASDM_AVX2_FEATURES)
#define ASDM_SET avx2
#include "cpu/vec/avx2.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/gemm/avx2_tile.inc.h"
#include "cpu/gemm/packed.inc.h"
#include "cpu/gemm/pack.inc.h"
#include "cpu/gemm/gemm.inc.h"
#include "cpu/gemm/gradient.inc.h"
#include "cpu/gemm/instantiate.inc.h"
ASDM_TARGET_END

#endif

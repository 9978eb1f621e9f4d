#include "cpu/int8/int8.h"
#include "core/bf16.h"
#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_HAS_AMX)

#include <atomic>

ASDM_TARGET_BEGIN(ASDM_AMX_FEATURES)
#define ASDM_SET amx
#define ASDM_VEC_BF16
#define ASDM_TILES
#include "cpu/vec/avx512.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/vec/amx.h"
#include "cpu/int8/amx_sizes.inc.h"
#include "cpu/int8/words512.inc.h"
#include "cpu/int8/bodies.inc.h"
ASDM_TARGET_END

#endif

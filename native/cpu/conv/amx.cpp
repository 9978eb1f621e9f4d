#include "cpu/conv/conv.h"
#include "cpu/conv/winograd.h"
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
#include "cpu/gemm/amx_tile.inc.h"
#include "cpu/gemm/packed.inc.h"
#include "cpu/conv/conv.inc.h"
#include "cpu/conv/cond_conv.inc.h"
#include "cpu/conv/instantiate.inc.h"
ASDM_TARGET_END

#endif

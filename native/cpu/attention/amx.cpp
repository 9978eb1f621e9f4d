#include "cpu/attention/attention.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_HAS_AMX)

#include <atomic>

ASDM_TARGET_BEGIN(ASDM_AMX_FEATURES)
#define ASDM_SET amx
#define ASDM_VEC_BF16
#define ASDM_TILES
#include "cpu/vec/avx512.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/amx.h"
#include "cpu/gemm/tile_registers.inc.h"
#include "cpu/attention/amx_sizes.inc.h"
#include "cpu/attention/pairs512.inc.h"
#include "cpu/attention/weight.inc.h"
#include "cpu/attention/state.inc.h"
#include "cpu/attention/transpose.inc.h"
#include "cpu/attention/attention.inc.h"
#include "cpu/attention/pairs.inc.h"
#include "cpu/attention/tile_products.inc.h"
#include "cpu/attention/instantiate.inc.h"
ASDM_TARGET_END

#endif

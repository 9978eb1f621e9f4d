#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_HAS_AMX)

#include <atomic>

#include "cpu/sets/amx_begin.h"
#include "cpu/vec/math.inc.h"
#include "cpu/vec/amx.h"
#include "cpu/gemm/amx_tile.inc.h"
#include "cpu/gemm/packed.inc.h"
#include "cpu/gemm/pack.inc.h"
#include "cpu/gemm/gemm.inc.h"
#include "cpu/gemm/instantiate.inc.h"
#include "cpu/sets/end.h"

#endif

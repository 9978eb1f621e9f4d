#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_ARM64)

#include "cpu/sets/neon_begin.h"
#include "cpu/vec/math.inc.h"
#include "cpu/gemm/neon_tile.inc.h"
#include "cpu/gemm/packed.inc.h"
#include "cpu/gemm/pack.inc.h"
#include "cpu/gemm/gemm.inc.h"
#include "cpu/gemm/gradient.inc.h"
#include "cpu/gemm/instantiate.inc.h"
#include "cpu/sets/end.h"

#endif

#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_ARM64)

#define ASDM_SET neon
#include "cpu/vec/neon.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/gemm/neon_tile.inc.h"
#include "cpu/gemm/packed.inc.h"
#include "cpu/gemm/pack.inc.h"
#include "cpu/gemm/gemm.inc.h"
#include "cpu/gemm/gradient.inc.h"
#include "cpu/gemm/instantiate.inc.h"

#endif

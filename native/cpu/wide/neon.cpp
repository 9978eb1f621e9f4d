#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"
#include "cpu/wide/wide.h"

#if defined(ASDM_ARM64)

#include "cpu/sets/neon_begin.h"
#include "cpu/vec/math.inc.h"
#include "cpu/wide/wide.inc.h"
#include "cpu/sets/end.h"

#endif

#include "cpu/int8/int8.h"
#include "core/bf16.h"
#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_HAS_AMX)

#include <atomic>

#include "cpu/sets/amx_begin.h"
#include "cpu/vec/math.inc.h"
#include "cpu/vec/amx.h"
#include "cpu/int8/amx_sizes.inc.h"
#include "cpu/int8/words512.inc.h"
#include "cpu/int8/bodies.inc.h"
#include "cpu/sets/end.h"

#endif

#include "cpu/int8/int8.h"
#include "core/bf16.h"
#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_X86)

#include "cpu/sets/avx512vnni_begin.h"
#include "cpu/vec/math.inc.h"
#include "cpu/int8/vnni512.inc.h"
#include "cpu/int8/bodies.inc.h"
#include "cpu/int8/register_tile.inc.h"
#include "cpu/sets/end.h"

#endif

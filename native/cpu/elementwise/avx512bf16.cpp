#include "cpu/elementwise/elementwise.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_X86)

#include "cpu/sets/avx512bf16_begin.h"
#include "cpu/vec/math.inc.h"
#include "cpu/vec/math16.inc.h"
#include "cpu/elementwise/elementwise.inc.h"
#include "cpu/sets/end.h"

#endif

#include "cpu/norm/norm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_X86)

#include "cpu/sets/avx2_begin.h"
#include "cpu/vec/math.inc.h"
#include "cpu/vec/math16.inc.h"
#include "cpu/norm/group_norm.inc.h"
#include "cpu/norm/layer_norm.inc.h"
#include "cpu/norm/gradient.inc.h"
#include "cpu/sets/end.h"

#endif

#include "cpu/norm/norm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_X86)

ASDM_TARGET_BEGIN(ASDM_AVX2_FEATURES)
#define ASDM_SET avx2
#include "cpu/vec/avx2.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/vec/math16.inc.h"
#include "cpu/norm/group_norm.inc.h"
#include "cpu/norm/layer_norm.inc.h"
#include "cpu/norm/gradient.inc.h"
#include "cpu/norm/instantiate.inc.h"
ASDM_TARGET_END

#endif

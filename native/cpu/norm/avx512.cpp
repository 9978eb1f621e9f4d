#include "cpu/norm/norm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_X86)

ASDM_TARGET_BEGIN(ASDM_AVX512_FEATURES)
#define ASDM_SET avx512
#include "cpu/vec/avx512.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/vec/math16.inc.h"
#include "cpu/norm/group_norm.inc.h"
#include "cpu/norm/layer_norm.inc.h"
#include "cpu/norm/gradient.inc.h"
#include "cpu/norm/instantiate.inc.h"
ASDM_TARGET_END

#endif

#include "cpu/norm/norm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_ARM64)

#define ASDM_SET neon
#include "cpu/vec/neon.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/vec/math16.inc.h"
#include "cpu/norm/group_norm.inc.h"
#include "cpu/norm/layer_norm.inc.h"
#include "cpu/norm/gradient.inc.h"
#include "cpu/norm/instantiate.inc.h"

#endif

#include "cpu/elementwise/elementwise.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_ARM64)

#define ASDM_SET neon
#include "cpu/vec/neon.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/vec/math16.inc.h"
#include "cpu/elementwise/elementwise.inc.h"
#include "cpu/elementwise/gradients.inc.h"
#include "cpu/elementwise/instantiate.inc.h"

#endif

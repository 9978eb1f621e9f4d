#include "cpu/elementwise/elementwise.h"
#include "cpu/intrinsics.h"

#define ASDM_SET portable
#include "cpu/vec/portable.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/vec/math16.inc.h"
#include "cpu/elementwise/elementwise.inc.h"
#include "cpu/elementwise/gradients.inc.h"
#include "cpu/elementwise/instantiate.inc.h"

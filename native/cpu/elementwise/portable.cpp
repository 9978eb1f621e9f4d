#include "cpu/elementwise/elementwise.h"
#include "cpu/intrinsics.h"

#include "cpu/sets/portable_begin.h"
#include "cpu/vec/math.inc.h"
#include "cpu/vec/math16.inc.h"
#include "cpu/elementwise/elementwise.inc.h"
#include "cpu/elementwise/gradients.inc.h"
#include "cpu/sets/end.h"

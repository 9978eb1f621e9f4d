#include "cpu/norm/norm.h"
#include "cpu/intrinsics.h"

#define ASDM_SET portable
#include "cpu/vec/portable.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/vec/math16.inc.h"
#include "cpu/norm/group_norm.inc.h"
#include "cpu/norm/layer_norm.inc.h"
#include "cpu/norm/gradient.inc.h"
#include "cpu/norm/instantiate.inc.h"

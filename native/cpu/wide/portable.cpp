#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"
#include "cpu/wide/wide.h"

#define ASDM_SET portable
#include "cpu/vec/portable.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/wide/wide.inc.h"

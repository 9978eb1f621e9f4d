#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"
#include "cpu/wide/wide.h"

#include "cpu/sets/portable_begin.h"
#include "cpu/vec/math.inc.h"
#include "cpu/wide/wide.inc.h"
#include "cpu/sets/end.h"

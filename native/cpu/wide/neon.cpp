#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"
#include "cpu/wide/wide.h"

#if defined(ASDM_ARM64)

#define ASDM_SET neon
#include "cpu/vec/neon.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/wide/wide.inc.h"

#endif

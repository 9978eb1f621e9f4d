#include "cpu/conv/conv.h"
#include "cpu/conv/winograd.h"
#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_ARM64)

#include "cpu/sets/neon_begin.h"
#include "cpu/vec/math.inc.h"
#include "cpu/gemm/neon_tile.inc.h"
#include "cpu/gemm/packed.inc.h"
#include "cpu/conv/winograd_transforms.inc.h"
#include "cpu/conv/winograd.inc.h"
#include "cpu/conv/conv.inc.h"
#include "cpu/conv/cond_conv.inc.h"
#include "cpu/conv/gradient.inc.h"
#include "cpu/conv/cond_conv_gradient.inc.h"
#include "cpu/conv/instantiate.inc.h"
#include "cpu/sets/end.h"

#endif

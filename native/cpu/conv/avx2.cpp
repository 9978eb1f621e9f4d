#include "cpu/conv/conv.h"
#include "cpu/conv/winograd.h"
#include "cpu/gemm/gemm.h"

#if defined(ASDM_X86)

#include <cmath>
#include <cstdint>
#include <immintrin.h>

ASDM_TARGET_BEGIN(ASDM_AVX2_FEATURES)
#define ASDM_SET avx2
#include "cpu/vec/avx2.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/gemm/avx2_tile.inc.h"
#include "cpu/gemm/packed.inc.h"
#include "cpu/conv/winograd_transforms.inc.h"
#include "cpu/conv/winograd.inc.h"
#include "cpu/conv/conv.inc.h"
#include "cpu/conv/cond_conv.inc.h"
#include "cpu/conv/instantiate.inc.h"
ASDM_TARGET_END

#endif

#include "cpu/attention/attention.h"

#include "cpu/intrinsics.h"
#include "testing/tile_emulation.h"

// Attention of the set amx on emulated tile registers; its names clash with those of tile_sets_avx512.cpp in one file.

#if defined(ASDM_X86)

ASDM_TARGET_BEGIN(ASDM_AVX512BF16_FEATURES)
#define ASDM_SET amx_emulated_avx512
#define ASDM_VEC_BF16
#define ASDM_TILES
#include "cpu/vec/avx512.h"
#include "cpu/vec/element.inc.h"
#include "testing/tile_words.h"
#include "cpu/gemm/tile_registers.inc.h"
#include "cpu/attention/amx_sizes.inc.h"
#include "cpu/attention/pairs512.inc.h"
#include "cpu/attention/weight.inc.h"
#include "cpu/attention/state.inc.h"
#include "cpu/attention/transpose.inc.h"
#include "cpu/attention/attention.inc.h"
#include "cpu/attention/pairs.inc.h"
#include "cpu/attention/tile_products.inc.h"
#include "cpu/attention/instantiate.inc.h"
ASDM_TARGET_END

#endif

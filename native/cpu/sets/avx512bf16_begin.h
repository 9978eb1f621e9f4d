// Opens the set avx512bf16: its target region, its name, and its vector vocabulary. end.h closes it.
ASDM_TARGET_BEGIN(ASDM_AVX512BF16_FEATURES)
#define ASDM_IN_REGION
#define ASDM_SET avx512bf16
#define ASDM_VEC_BF16
#include "cpu/vec/avx512.h"
#include "cpu/vec/element.inc.h"

// Opens the set avx2: its target region, its name, and its vector vocabulary. end.h closes it.
ASDM_TARGET_BEGIN(ASDM_AVX2_FEATURES)
#define ASDM_IN_REGION
#define ASDM_SET avx2
#include "cpu/vec/avx2.h"
#include "cpu/vec/element.inc.h"

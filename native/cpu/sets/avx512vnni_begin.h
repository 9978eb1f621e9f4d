// Opens the set avx512vnni: its target region, its name, and its vector vocabulary. end.h closes it.
ASDM_TARGET_BEGIN(ASDM_AVX512VNNI_FEATURES)
#define ASDM_IN_REGION
#define ASDM_SET avx512vnni
#include "cpu/vec/avx512.h"
#include "cpu/vec/element.inc.h"

// Opens the set amx: its target region, its name, and its vector vocabulary. end.h closes it.
ASDM_TARGET_BEGIN(ASDM_AMX_FEATURES)
#define ASDM_IN_REGION
#define ASDM_SET amx
#define ASDM_VEC_BF16
#define ASDM_TILES
#include "cpu/vec/avx512.h"
#include "cpu/vec/element.inc.h"

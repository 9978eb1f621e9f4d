// Opens the set avxvnni: its target region, its name, and its vector vocabulary. end.h closes it.
ASDM_TARGET_BEGIN(ASDM_AVXVNNI_FEATURES)
#define ASDM_IN_REGION
#define ASDM_SET avxvnni
#include "cpu/vec/avx2.h"
#include "cpu/vec/element.inc.h"

// Opens the set neondot: its target region, its name, and its vector vocabulary. end.h closes it.
ASDM_TARGET_BEGIN(ASDM_DOTPROD_FEATURES)
#define ASDM_IN_REGION
#define ASDM_SET neondot
#include "cpu/vec/neon.h"
#include "cpu/vec/element.inc.h"

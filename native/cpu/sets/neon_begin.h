// Opens the set neon: its name and its vector vocabulary; what the architecture always has needs no region. end.h closes it.
#define ASDM_SET neon
#include "cpu/vec/neon.h"
#include "cpu/vec/element.inc.h"

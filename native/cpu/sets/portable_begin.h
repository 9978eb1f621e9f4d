// Opens the set portable: its name and its vector vocabulary; what the architecture always has needs no region. end.h closes it.
#define ASDM_SET portable
#include "cpu/vec/portable.h"
#include "cpu/vec/element.inc.h"

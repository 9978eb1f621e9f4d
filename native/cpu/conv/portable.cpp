#include "cpu/conv/conv.h"
#include "cpu/gemm/gemm.h"

#include <cmath>
#include <cstdint>
#include <cstring>

#define ASDM_SET portable
#include "cpu/vec/portable.h"
#include "cpu/vec/element.inc.h"
#include "cpu/conv/conv.inc.h"
#include "cpu/conv/instantiate.inc.h"

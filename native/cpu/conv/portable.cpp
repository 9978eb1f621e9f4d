#include "cpu/conv/conv.h"
#include "cpu/gemm/gemm.h"

#include <cmath>
#include <cstdint>
#include <cstring>

#define ASDM_SET portable
#include "cpu/vec/portable.h"
#include "cpu/conv/conv.inc.h"


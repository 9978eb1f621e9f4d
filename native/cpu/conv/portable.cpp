#include "cpu/conv/conv.h"
#include "cpu/conv/winograd.h"
#include "cpu/gemm/gemm.h"

#include <cmath>
#include <cstdint>
#include <cstring>

#define ASDM_SET portable
#include "cpu/vec/portable.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/gemm/portable_tile.inc.h"
#include "cpu/gemm/packed.inc.h"
#include "cpu/conv/winograd_transforms.inc.h"
#include "cpu/conv/winograd.inc.h"
#include "cpu/conv/conv.inc.h"
#include "cpu/conv/cond_conv.inc.h"
#include "cpu/conv/instantiate.inc.h"

#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"

#define ASDM_SET portable
#include "cpu/vec/portable.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "cpu/gemm/portable_tile.inc.h"
#include "cpu/gemm/packed.inc.h"
#include "cpu/gemm/pack.inc.h"
#include "cpu/gemm/gemm.inc.h"
#include "cpu/gemm/gradient.inc.h"
#include "cpu/gemm/instantiate.inc.h"

#include "cpu/attention/attention.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_HAS_AMX)

#include <atomic>

#include "cpu/sets/amx_begin.h"
#include "cpu/vec/amx.h"
#include "cpu/gemm/tile_registers.inc.h"
#include "cpu/attention/amx_sizes.inc.h"
#include "cpu/attention/pairs512.inc.h"
#include "cpu/attention/weight.inc.h"
#include "cpu/attention/state.inc.h"
#include "cpu/attention/transpose.inc.h"
#include "cpu/attention/attention.inc.h"
#include "cpu/attention/pairs.inc.h"
#include "cpu/attention/tile_products.inc.h"
#include "cpu/attention/instantiate.inc.h"
#include "cpu/sets/end.h"

#endif

#include "testing/tile_sets.h"

#include "core/bf16.h"
#include "cpu/attention/attention.h"
#include "cpu/conv/conv.h"
#include "cpu/conv/winograd.h"
#include "cpu/cpuid.h"
#include "cpu/elementwise/elementwise.h"
#include "cpu/gemm/gemm.h"
#include "cpu/int8/int8.h"
#include "cpu/intrinsics.h"
#include "cpu/norm/norm.h"
#include "cpu/tables.h"
#include "cpu/wide/wide.h"
#include "testing/tile_emulation.h"

#define ASDM_SET amx_emulated
#define ASDM_TILES
#include "cpu/vec/portable.h"
#include "cpu/vec/element.inc.h"
#include "cpu/vec/math.inc.h"
#include "testing/tile_words.h"
#include "cpu/gemm/amx_tile.inc.h"
#include "cpu/gemm/packed.inc.h"
#include "cpu/gemm/pack.inc.h"
#include "cpu/gemm/gemm.inc.h"
#include "cpu/gemm/instantiate.inc.h"
#include "cpu/conv/conv.inc.h"
#include "cpu/conv/cond_conv.inc.h"
#include "cpu/conv/instantiate.inc.h"
#include "cpu/int8/amx_sizes.inc.h"
#include "cpu/int8/words_portable.inc.h"
#include "cpu/int8/bodies.inc.h"

namespace asdm::cpu {

namespace amx_emulated {
using portable::attention;
using portable::attentionScratch;
}  // namespace amx_emulated

}  // namespace asdm::cpu

#undef ASDM_SET
#define ASDM_SET amx_emulated
#define ASDM_REST_OF portable
#include "cpu/table.inc.h"

namespace asdm::cpu {

namespace {

ASDM_BFLOAT16_TABLE(amx_emulated, portable, amx_emulated)
ASDM_INT8_TABLE(amx_emulated)

}  // namespace

}  // namespace asdm::cpu

namespace asdm::testing {

const KernelTable* emulatedPortableTable(DType dtype) {
  return dtype == DType::BF16 ? &cpu::amx_emulatedBfloat16 : dtype == DType::I8 ? &cpu::amx_emulatedInt8 : nullptr;
}

}  // namespace asdm::testing

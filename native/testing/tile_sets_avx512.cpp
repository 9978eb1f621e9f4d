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

#if defined(ASDM_X86)

ASDM_TARGET_BEGIN(ASDM_AVX512BF16_FEATURES)
#define ASDM_SET amx_emulated_avx512
#define ASDM_VEC_BF16
#define ASDM_TILES
#include "cpu/vec/avx512.h"
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
#include "cpu/int8/words512.inc.h"
#include "cpu/int8/bodies.inc.h"
ASDM_TARGET_END

namespace asdm::cpu {

namespace amx_emulated_avx512 {
template <class E>
void attention(const AttentionArgs&, KernelContext&) noexcept;  // tile_attention_avx512.cpp
template <class E>
size_t attentionScratch(const AttentionArgs&, int threads) noexcept;
}  // namespace amx_emulated_avx512

}  // namespace asdm::cpu

#undef ASDM_SET
#define ASDM_SET amx_emulated_avx512
#define ASDM_REST_OF avx512bf16
#include "cpu/table.inc.h"

namespace asdm::cpu {

namespace {

ASDM_BFLOAT16_TABLE(amx_emulated_avx512, avx512, amx_emulated_avx512)
ASDM_INT8_TABLE(amx_emulated_avx512)

}  // namespace

}  // namespace asdm::cpu

namespace asdm::testing {

const KernelTable* emulatedAvx512Table(DType dtype) {
  const cpu::Features features = cpu::detect();
  if (!features.avx512bf16 || !features.avx512vnni) return nullptr;
  return dtype == DType::BF16 ? &cpu::amx_emulated_avx512Bfloat16 : dtype == DType::I8 ? &cpu::amx_emulated_avx512Int8 : nullptr;
}

}  // namespace asdm::testing

#else

namespace asdm::testing {
const KernelTable* emulatedAvx512Table(DType) { return nullptr; }
}  // namespace asdm::testing

#endif

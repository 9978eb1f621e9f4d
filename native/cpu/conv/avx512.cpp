#include "cpu/conv/conv.h"
#include "cpu/conv/winograd.h"
#include "cpu/gemm/gemm.h"
#include "cpu/intrinsics.h"

#if defined(ASDM_X86)

#include "cpu/sets/avx512_begin.h"
#include "cpu/vec/math.inc.h"
#include "cpu/gemm/avx512_tile.inc.h"
#include "cpu/gemm/packed.inc.h"

namespace asdm::cpu::avx512 {

ASDM_INLINE vf loadWeights(const Bf16Pair* p, int which) {
  const __m512i pairs = _mm512_loadu_si512(p);
  return _mm512_castsi512_ps(which == 0 ? _mm512_slli_epi32(pairs, 16) : _mm512_and_si512(pairs, _mm512_set1_epi32(-65536)));
}

}  // namespace asdm::cpu::avx512

#include "cpu/conv/winograd_transforms.inc.h"
#include "cpu/conv/winograd.inc.h"
#include "cpu/conv/conv.inc.h"
#include "cpu/conv/cond_conv.inc.h"
#include "cpu/conv/gradient.inc.h"
#include "cpu/conv/cond_conv_gradient.inc.h"
#include "cpu/conv/instantiate.inc.h"

namespace asdm::cpu::avx512 {

void pairedWinogradConv(const ConvArgs& a, const Mixture* mixture, KernelContext& context, PackedRow rows) noexcept {
  runWinograd<Bf16, Bf16Pair>(a, mixture, context, rows);
}
size_t pairedWinogradScratch(const ConvArgs& a, int64_t experts, int threads) noexcept { return winogradScratch(a, experts, threads); }

}  // namespace asdm::cpu::avx512
#include "cpu/sets/end.h"

#endif

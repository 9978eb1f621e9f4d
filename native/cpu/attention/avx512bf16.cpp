#include "cpu/attention/attention.h"

#if defined(ASDM_X86)

#include <cmath>
#include <cstdint>
#include <cstring>
#include <immintrin.h>
#include <limits>

ASDM_TARGET_BEGIN(ASDM_AVX512BF16_FEATURES)
#define ASDM_SET avx512bf16
#define ASDM_VEC_BF16
#include "cpu/vec/avx512.h"
#include "cpu/vec/element.inc.h"

namespace asdm::cpu::ASDM_SET {
// 8 x 3 accumulators of 32 registers; 11 loads for 24 instructions that multiply.
constexpr int kKeyTile = 8, kValueTile = 8, kMaxVectors = 3;
constexpr int64_t kCoreMacs = 60'000'000;  // per ms

ASDM_INLINE void vzip(vf& a, vf& b) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const vf lower = _mm512_permutex2var_ps(a, low, b);
  b = _mm512_permutex2var_ps(a, high, b);
  a = lower;
}

using vp = __m512bh;
ASDM_INLINE vp vpload(const Bf16* p) { return (vp)_mm512_loadu_si512(p); }
ASDM_INLINE void vpstore(Bf16* p, vp v) { _mm512_storeu_si512(p, (__m512i)v); }
ASDM_INLINE uint32_t vpfirst(int64_t n) { return n >= 32 ? ~0u : n <= 0 ? 0u : (1u << n) - 1u; }
ASDM_INLINE vp vploadn(const Bf16* p, int64_t n) { return (vp)_mm512_maskz_loadu_epi16(vpfirst(n), p); }
ASDM_INLINE vp vpjoin(const Bf16* p, const Bf16* q, int64_t n) {
  const __mmask16 mask = static_cast<__mmask16>(vpfirst(n));
  const __m512i even = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p));
  if (q == nullptr) return (vp)even;
  return (vp)_mm512_or_si512(even, _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, q)), 16));
}
ASDM_INLINE void vpsplit(Bf16* p, Bf16* q, vp v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_castsi512_si256((__m512i)v));
  if (q != nullptr) _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), _mm512_extracti64x4_epi64((__m512i)v, 1));
}
ASDM_INLINE vp vpflip(vp v) { return (vp)_mm512_xor_si512((__m512i)v, _mm512_set1_epi16(static_cast<int16_t>(-32768))); }
ASDM_INLINE vf vpbits(vp v) { return _mm512_castsi512_ps((__m512i)v); }
ASDM_INLINE vp vpfrom(vf v) { return (vp)_mm512_castps_si512(v); }
ASDM_INLINE vp vpset(const Bf16* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  return (vp)_mm512_set1_epi32(pair);
}
ASDM_INLINE vf vdot(vp a, vp b, vf c) { return _mm512_dpbf16_ps(c, a, b); }
ASDM_INLINE vp vpair(vf a, vf b) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19,
                                         3, 18, 2, 17, 1, 16, 0);
  return (vp)_mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(b, a));
}
ASDM_INLINE vf vpairweight(vf t) { return vexp2fast(t); }

}  // namespace asdm::cpu::ASDM_SET

#include "cpu/attention/weight.inc.h"
#include "cpu/attention/state.inc.h"
#include "cpu/attention/transpose.inc.h"
#include "cpu/attention/attention.inc.h"
#include "cpu/attention/pairs.inc.h"
ASDM_TARGET_END

#endif

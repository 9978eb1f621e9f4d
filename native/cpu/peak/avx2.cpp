#include "cpu/peak/peak.h"

#if defined(ASDM_X86)

#include <immintrin.h>

ASDM_TARGET_BEGIN(ASDM_AVX2_FEATURES)
namespace asdm::cpu::avx2 {

namespace {

// Twelve chains hide the latency of two units and leave registers for the operands. Twelve variables, not an array: compilers would
// keep that in memory. They start apart, or compilers would see that they are one.
void chains(int64_t rounds) noexcept {
  volatile float seed = 0.999f;
  const __m256 a = _mm256_set1_ps(seed), b = _mm256_set1_ps(1.0f - seed);
#define ASDM_START(i) _mm256_set1_ps(seed + (i))
  __m256 s0 = ASDM_START(0), s1 = ASDM_START(1), s2 = ASDM_START(2), s3 = ASDM_START(3), s4 = ASDM_START(4), s5 = ASDM_START(5),
         s6 = ASDM_START(6), s7 = ASDM_START(7), s8 = ASDM_START(8), s9 = ASDM_START(9), s10 = ASDM_START(10), s11 = ASDM_START(11);
#undef ASDM_START
  for (int64_t n = 0; n < rounds; n++) {
    s0 = _mm256_fmadd_ps(s0, a, b);
    s1 = _mm256_fmadd_ps(s1, a, b);
    s2 = _mm256_fmadd_ps(s2, a, b);
    s3 = _mm256_fmadd_ps(s3, a, b);
    s4 = _mm256_fmadd_ps(s4, a, b);
    s5 = _mm256_fmadd_ps(s5, a, b);
    s6 = _mm256_fmadd_ps(s6, a, b);
    s7 = _mm256_fmadd_ps(s7, a, b);
    s8 = _mm256_fmadd_ps(s8, a, b);
    s9 = _mm256_fmadd_ps(s9, a, b);
    s10 = _mm256_fmadd_ps(s10, a, b);
    s11 = _mm256_fmadd_ps(s11, a, b);
  }
  const __m256 sum = _mm256_add_ps(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)),
                                   _mm256_add_ps(_mm256_add_ps(_mm256_add_ps(s4, s5), _mm256_add_ps(s6, s7)),
                                                 _mm256_add_ps(_mm256_add_ps(s8, s9), _mm256_add_ps(s10, s11))));
  seed = _mm256_cvtss_f32(sum);
}

}  // namespace

PeakKernel peak(DType dtype) {
  if (dtype != DType::F32) return {};
  return {chains, 12 * 8};
}

}  // namespace asdm::cpu::avx2
ASDM_TARGET_END

#endif

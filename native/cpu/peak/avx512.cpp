// Sixteen chains each, which hide the latency of two units. Written out, since compilers would keep an array in memory.
#include "cpu/peak/peak.h"

#if defined(ASDM_X86)

#include <immintrin.h>

#include "cpu/cpuid.h"

// start(i) differs for each chain, or compilers would see that they are one.
#define ASDM_CHAINS(type, start)                                                                                               \
  type s0 = start(0), s1 = start(1), s2 = start(2), s3 = start(3), s4 = start(4), s5 = start(5), s6 = start(6), s7 = start(7), \
       s8 = start(8), s9 = start(9), s10 = start(10), s11 = start(11), s12 = start(12), s13 = start(13), s14 = start(14), s15 = start(15)
#define ASDM_EACH(step)                                                                                                             \
  step(s0) step(s1) step(s2) step(s3) step(s4) step(s5) step(s6) step(s7) step(s8) step(s9) step(s10) step(s11) step(s12) step(s13) \
      step(s14) step(s15)

// A function of that many chains of `step(s)`, from `start(i)`; what they come to, joined by `join(sum, s)` from `first`, is read, or
// compilers would leave them out.
#define ASDM_CHAINS_OF(type, start, step, join, first) \
  ASDM_CHAINS(type, start);                            \
  for (int64_t n = 0; n < rounds; n++) {               \
    ASDM_EACH(step)                                    \
  }                                                    \
  type sum = first;                                    \
  ASDM_EACH(join)

#define ASDM_START_F32(i) _mm512_set1_ps(seed + (i))
#define ASDM_JOIN_F32(s) sum = _mm512_add_ps(sum, s);

ASDM_TARGET_BEGIN(ASDM_AVX512_FEATURES)
namespace asdm::cpu::avx512 {
namespace {

void chainsF32(int64_t rounds) noexcept {
  volatile float seed = 0.999f;
  const __m512 a = _mm512_set1_ps(seed), b = _mm512_set1_ps(1.0f - seed);
#define ASDM_STEP(s) s = _mm512_fmadd_ps(s, a, b);
  ASDM_CHAINS_OF(__m512, ASDM_START_F32, ASDM_STEP, ASDM_JOIN_F32, b)
#undef ASDM_STEP
  seed = _mm512_cvtss_f32(sum);
}

}  // namespace
}  // namespace asdm::cpu::avx512
ASDM_TARGET_END

ASDM_TARGET_BEGIN(ASDM_AVX512BF16_FEATURES)
namespace asdm::cpu::avx512 {
namespace {

void chainsBf16(int64_t rounds) noexcept {
  volatile float seed = 1e-3f;
  const __m512 x = _mm512_set1_ps(seed);
  const __m512bh a = _mm512_cvtne2ps_pbh(x, x);
#define ASDM_STEP(s) s = _mm512_dpbf16_ps(s, a, a);
  ASDM_CHAINS_OF(__m512, ASDM_START_F32, ASDM_STEP, ASDM_JOIN_F32, x)
#undef ASDM_STEP
  seed = _mm512_cvtss_f32(sum);
}

}  // namespace
}  // namespace asdm::cpu::avx512
ASDM_TARGET_END

ASDM_TARGET_BEGIN(ASDM_AVX512VNNI_FEATURES)
namespace asdm::cpu::avx512 {
namespace {

void chainsI8(int64_t rounds) noexcept {
  volatile int seed = 0x01010101;
  const __m512i a = _mm512_set1_epi32(seed);
#define ASDM_START(i) _mm512_set1_epi32(seed + (i))
#define ASDM_STEP(s) s = _mm512_dpbusd_epi32(s, a, a);
#define ASDM_JOIN(s) sum = _mm512_xor_si512(sum, s);
  ASDM_CHAINS_OF(__m512i, ASDM_START, ASDM_STEP, ASDM_JOIN, a)
#undef ASDM_START
#undef ASDM_STEP
#undef ASDM_JOIN
  seed = _mm_cvtsi128_si32(_mm512_castsi512_si128(sum));
}

}  // namespace
}  // namespace asdm::cpu::avx512
ASDM_TARGET_END

namespace asdm::cpu::avx512 {

PeakKernel peak(DType dtype) {
  const Features features = detect();
  if (dtype == DType::F32) return {chainsF32, 16 * 16};
  if (dtype == DType::BF16 && features.avx512bf16 && features.avx512vnni) return {chainsBf16, 16 * 32};
  if (dtype == DType::I8 && features.avx512vnni) return {chainsI8, 16 * 64};
  return {};
}

}  // namespace asdm::cpu::avx512

#endif

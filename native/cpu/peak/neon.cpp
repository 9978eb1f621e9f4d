#include "cpu/peak/peak.h"

#if defined(ASDM_ARM64)

#include <arm_neon.h>

namespace asdm::cpu::neon {

namespace {

// Sixteen chains hide the latency of four units. They start apart, or compilers would see that they are one.
void chains(int64_t rounds) noexcept {
  volatile float seed = 0.999f;
  const float32x4_t a = vdupq_n_f32(seed), b = vdupq_n_f32(1.0f - seed);
#define ASDM_START(i) vdupq_n_f32(seed + (i))
  float32x4_t s0 = ASDM_START(0), s1 = ASDM_START(1), s2 = ASDM_START(2), s3 = ASDM_START(3), s4 = ASDM_START(4), s5 = ASDM_START(5),
              s6 = ASDM_START(6), s7 = ASDM_START(7), s8 = ASDM_START(8), s9 = ASDM_START(9), s10 = ASDM_START(10), s11 = ASDM_START(11),
              s12 = ASDM_START(12), s13 = ASDM_START(13), s14 = ASDM_START(14), s15 = ASDM_START(15);
#undef ASDM_START
  for (int64_t n = 0; n < rounds; n++) {
    s0 = vfmaq_f32(s0, a, b);
    s1 = vfmaq_f32(s1, a, b);
    s2 = vfmaq_f32(s2, a, b);
    s3 = vfmaq_f32(s3, a, b);
    s4 = vfmaq_f32(s4, a, b);
    s5 = vfmaq_f32(s5, a, b);
    s6 = vfmaq_f32(s6, a, b);
    s7 = vfmaq_f32(s7, a, b);
    s8 = vfmaq_f32(s8, a, b);
    s9 = vfmaq_f32(s9, a, b);
    s10 = vfmaq_f32(s10, a, b);
    s11 = vfmaq_f32(s11, a, b);
    s12 = vfmaq_f32(s12, a, b);
    s13 = vfmaq_f32(s13, a, b);
    s14 = vfmaq_f32(s14, a, b);
    s15 = vfmaq_f32(s15, a, b);
  }
  const float32x4_t low = vaddq_f32(vaddq_f32(vaddq_f32(s0, s1), vaddq_f32(s2, s3)), vaddq_f32(vaddq_f32(s4, s5), vaddq_f32(s6, s7)));
  const float32x4_t high =
      vaddq_f32(vaddq_f32(vaddq_f32(s8, s9), vaddq_f32(s10, s11)), vaddq_f32(vaddq_f32(s12, s13), vaddq_f32(s14, s15)));
  seed = vaddvq_f32(vaddq_f32(low, high));
}

}  // namespace

PeakKernel peak(DType dtype) {
  if (dtype != DType::F32) return {};
  return {chains, 16 * 4};
}

}  // namespace asdm::cpu::neon

#endif

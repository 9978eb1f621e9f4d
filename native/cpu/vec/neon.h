// NEON (AArch64) vocabulary; see README.md. Include <arm_neon.h> before, with ASDM_SET defined.
#pragma once

namespace asdm::cpu::ASDM_SET {

using vf = float32x4_t;
using vm = uint32x4_t;
constexpr int kVf = 4;

ASDM_INLINE vf vzero() { return vdupq_n_f32(0.0f); }
ASDM_INLINE vf vset(float x) { return vdupq_n_f32(x); }
ASDM_INLINE vf vload(const float* p) { return vld1q_f32(p); }
ASDM_INLINE void vstore(float* p, vf v) { vst1q_f32(p, v); }
ASDM_INLINE vf vloadn(const float* p, int n) {
  float lanes[4] = {0, 0, 0, 0};
  for (int i = 0; i < n; i++) lanes[i] = p[i];
  return vld1q_f32(lanes);
}
ASDM_INLINE void vstoren(float* p, vf v, int n) {
  float lanes[4];
  vst1q_f32(lanes, v);
  for (int i = 0; i < n; i++) p[i] = lanes[i];
}
ASDM_INLINE vf vfromHalves(uint16x4_t halves) { return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(halves), 16)); }
ASDM_INLINE vf vloadh(const uint16_t* p) { return vfromHalves(vld1_u16(p)); }
ASDM_INLINE vf vloadhn(const uint16_t* p, int n) {
  uint16_t lanes[4] = {0, 0, 0, 0};
  for (int i = 0; i < n; i++) lanes[i] = p[i];
  return vloadh(lanes);
}
ASDM_INLINE void vstoreh(uint16_t* p, vf v) {
  const uint32x4_t bits = vreinterpretq_u32_f32(v);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
  vst1_u16(p, vshrn_n_u32(vbslq_u32(vceqq_f32(v, v), rounded, quiet), 16));
}
ASDM_INLINE void vstorehn(uint16_t* p, vf v, int n) {
  uint16_t lanes[4];
  vstoreh(lanes, v);
  for (int i = 0; i < n; i++) p[i] = lanes[i];
}
ASDM_INLINE vf vloadf32(const unsigned char* p) { return vreinterpretq_f32_u8(vld1q_u8(p)); }
ASDM_INLINE vf vloadbf16(const unsigned char* p) { return vfromHalves(vreinterpret_u16_u8(vld1_u8(p))); }
ASDM_INLINE vf vloadf16(const unsigned char* p) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p))); }
ASDM_INLINE vf vadd(vf a, vf b) { return vaddq_f32(a, b); }
ASDM_INLINE vf vsub(vf a, vf b) { return vsubq_f32(a, b); }
ASDM_INLINE vf vmul(vf a, vf b) { return vmulq_f32(a, b); }
ASDM_INLINE vf vdiv(vf a, vf b) { return vdivq_f32(a, b); }
ASDM_INLINE vm vlt(vf a, vf b) { return vcltq_f32(a, b); }
ASDM_INLINE vf vselect(vm m, vf a, vf b) { return vbslq_f32(m, a, b); }
// By comparison, not vmaxq: that gives NaN where either is NaN, and kernels count on x86's rule.
ASDM_INLINE vf vmax(vf a, vf b) { return vselect(vcgtq_f32(a, b), a, b); }
ASDM_INLINE vf vmin(vf a, vf b) { return vselect(vcltq_f32(a, b), a, b); }
ASDM_INLINE vf vsqrt(vf a) { return vsqrtq_f32(a); }
ASDM_INLINE vf vabs(vf a) { return vabsq_f32(a); }
ASDM_INLINE vf vfma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
using vd = float64x2_t;
constexpr int kVd = 2;
ASDM_INLINE vd vdset(double x) { return vdupq_n_f64(x); }
ASDM_INLINE vd vdload(const double* p) { return vld1q_f64(p); }
ASDM_INLINE void vdstore(double* p, vd v) { vst1q_f64(p, v); }
ASDM_INLINE vd vdfma(vd a, vd b, vd c) { return vfmaq_f64(c, a, b); }
ASDM_INLINE vf vround(vf a) { return vrndnq_f32(a); }
ASDM_INLINE vf vexp2i(vf a) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(a), vdupq_n_s32(127)), 23)); }
ASDM_INLINE float vsum(vf v) { return vaddvq_f32(v); }
ASDM_INLINE float vmaxlane(vf v) { return vmaxvq_f32(v); }

}  // namespace asdm::cpu::ASDM_SET

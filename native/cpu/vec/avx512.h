// AVX-512 vocabulary; see README.md. Include inside a target region with ASDM_SET defined.
#pragma once

namespace asdm::cpu::ASDM_SET {

using vf = __m512;
using vm = __mmask16;
constexpr int kVf = 16;

ASDM_INLINE vf vzero() { return _mm512_setzero_ps(); }
ASDM_INLINE vf vset(float x) { return _mm512_set1_ps(x); }
ASDM_INLINE vf vload(const float* p) { return _mm512_loadu_ps(p); }
ASDM_INLINE void vstore(float* p, vf v) { _mm512_storeu_ps(p, v); }
ASDM_INLINE vm vfirst(int n) { return static_cast<vm>((1u << n) - 1u); }
ASDM_INLINE vf vloadn(const float* p, int n) { return _mm512_maskz_loadu_ps(vfirst(n), p); }
ASDM_INLINE void vstoren(float* p, vf v, int n) { _mm512_mask_storeu_ps(p, vfirst(n), v); }
ASDM_INLINE vf vadd(vf a, vf b) { return _mm512_add_ps(a, b); }
ASDM_INLINE vf vsub(vf a, vf b) { return _mm512_sub_ps(a, b); }
ASDM_INLINE vf vmul(vf a, vf b) { return _mm512_mul_ps(a, b); }
ASDM_INLINE vf vdiv(vf a, vf b) { return _mm512_div_ps(a, b); }
ASDM_INLINE vf vmax(vf a, vf b) { return _mm512_max_ps(a, b); }
ASDM_INLINE vf vmin(vf a, vf b) { return _mm512_min_ps(a, b); }
ASDM_INLINE vf vsqrt(vf a) { return _mm512_sqrt_ps(a); }
ASDM_INLINE vf vabs(vf a) { return _mm512_abs_ps(a); }
ASDM_INLINE vf vfma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
ASDM_INLINE vf vround(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
ASDM_INLINE vf vexp2i(vf a) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(127)), 23));
}
ASDM_INLINE vm vlt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
ASDM_INLINE vf vselect(vm m, vf a, vf b) { return _mm512_mask_blend_ps(m, b, a); }
ASDM_INLINE float vsum(vf v) { return _mm512_reduce_add_ps(v); }
ASDM_INLINE float vmaxlane(vf v) { return _mm512_reduce_max_ps(v); }

}  // namespace asdm::cpu::ASDM_SET

// AVX-512 vocabulary; see README.md. Include inside a target region with ASDM_SET defined.
// With ASDM_VEC_BF16 defined too, the region has to allow avx512bf16, and rounding to bfloat16 is that extension's instruction.
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
ASDM_INLINE vf vfromHalves(__m256i h) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16)); }
#if defined(ASDM_VEC_BF16)
// One instruction, which takes subnormal numbers for zero and else rounds as the other branch does.
ASDM_INLINE __m256i vtoHalves(vf v) { return (__m256i)_mm512_cvtneps_pbh(v); }
#else
ASDM_INLINE __m256i vtoHalves(vf v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const __m512i all = _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), rounded, quiet);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(all, 16));
}
#endif
ASDM_INLINE vf vloadh(const uint16_t* p) { return vfromHalves(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
ASDM_INLINE vf vloadhn(const uint16_t* p, int n) { return vfromHalves(_mm256_maskz_loadu_epi16(vfirst(n), p)); }
ASDM_INLINE void vstoreh(uint16_t* p, vf v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), vtoHalves(v)); }
ASDM_INLINE void vstorehn(uint16_t* p, vf v, int n) { _mm256_mask_storeu_epi16(p, vfirst(n), vtoHalves(v)); }
ASDM_INLINE vf vloadf32(const unsigned char* p) { return _mm512_loadu_ps(p); }
ASDM_INLINE vf vloadbf16(const unsigned char* p) { return vfromHalves(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
ASDM_INLINE vf vloadf16(const unsigned char* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
ASDM_INLINE vf vadd(vf a, vf b) { return _mm512_add_ps(a, b); }
ASDM_INLINE vf vsub(vf a, vf b) { return _mm512_sub_ps(a, b); }
ASDM_INLINE vf vmul(vf a, vf b) { return _mm512_mul_ps(a, b); }
ASDM_INLINE vf vdiv(vf a, vf b) { return _mm512_div_ps(a, b); }
ASDM_INLINE vf vmax(vf a, vf b) { return _mm512_max_ps(a, b); }
ASDM_INLINE vf vmin(vf a, vf b) { return _mm512_min_ps(a, b); }
ASDM_INLINE vf vsqrt(vf a) { return _mm512_sqrt_ps(a); }
ASDM_INLINE vf vabs(vf a) { return _mm512_abs_ps(a); }
ASDM_INLINE vf vfma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
using vd = __m512d;
constexpr int kVd = 8;
ASDM_INLINE vd vdset(double x) { return _mm512_set1_pd(x); }
ASDM_INLINE vd vdload(const double* p) { return _mm512_loadu_pd(p); }
ASDM_INLINE void vdstore(double* p, vd v) { _mm512_storeu_pd(p, v); }
ASDM_INLINE vd vdfma(vd a, vd b, vd c) { return _mm512_fmadd_pd(a, b, c); }
ASDM_INLINE vf vround(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
ASDM_INLINE vf vexp2i(vf a) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(127)), 23));
}
// For results that are rounded to bfloat16. 2^v within 7.6e-5, a fiftieth of that rounding: a degree-3 polynomial, fitted to equal
// relative error, of the fraction above floor(v); the last instruction multiplies by 2^floor(v), giving 0 below the smallest float.
ASDM_INLINE vf vexp2fast(vf v) {
  const vf r = _mm512_reduce_ps(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  vf p = vset(0.07802452f);
  p = vfma(p, r, vset(0.22606717f));
  p = vfma(p, r, vset(0.6958335f));
  p = vfma(p, r, vset(0.9999252f));
  return _mm512_scalef_ps(p, v);
}
// 1 / v within 2^-14; 0 for infinity.
ASDM_INLINE vf vinvfast(vf v) { return _mm512_rcp14_ps(v); }
#define ASDM_VEC_FAST
ASDM_INLINE vm vlt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
ASDM_INLINE vf vselect(vm m, vf a, vf b) { return _mm512_mask_blend_ps(m, b, a); }
ASDM_INLINE float vsum(vf v) { return _mm512_reduce_add_ps(v); }
ASDM_INLINE float vmaxlane(vf v) { return _mm512_reduce_max_ps(v); }

}  // namespace asdm::cpu::ASDM_SET

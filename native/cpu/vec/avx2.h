// AVX2 + FMA vocabulary; see README.md. Include inside a target region with ASDM_SET defined.
#pragma once

namespace asdm::cpu::ASDM_SET {

using vf = __m256;
using vm = __m256;
constexpr int kVf = 8;

ASDM_INLINE vf vzero() { return _mm256_setzero_ps(); }
ASDM_INLINE vf vset(float x) { return _mm256_set1_ps(x); }
ASDM_INLINE vf vload(const float* p) { return _mm256_loadu_ps(p); }
ASDM_INLINE void vstore(float* p, vf v) { _mm256_storeu_ps(p, v); }
ASDM_INLINE __m256i vfirst(int n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
ASDM_INLINE vf vloadn(const float* p, int n) { return _mm256_maskload_ps(p, vfirst(n)); }
ASDM_INLINE void vstoren(float* p, vf v, int n) { _mm256_maskstore_ps(p, vfirst(n), v); }
ASDM_INLINE vf vfromHalves(__m128i halves) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16)); }
ASDM_INLINE vf vloadh(const uint16_t* p) { return vfromHalves(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
ASDM_INLINE vf vloadhn(const uint16_t* p, int n) {
  uint16_t lanes[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  for (int i = 0; i < n; i++) lanes[i] = p[i];
  return vloadh(lanes);
}
ASDM_INLINE void vstoreh(uint16_t* p, vf v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  const __m256i upper = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256(upper, 1)));
}
ASDM_INLINE void vstorehn(uint16_t* p, vf v, int n) {
  uint16_t lanes[8];
  vstoreh(lanes, v);
  for (int i = 0; i < n; i++) p[i] = lanes[i];
}
ASDM_INLINE vf vloadf32(const unsigned char* p) { return _mm256_castsi256_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
ASDM_INLINE vf vloadbf16(const unsigned char* p) { return vfromHalves(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
ASDM_INLINE vf vloadf16(const unsigned char* p) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
ASDM_INLINE vf vadd(vf a, vf b) { return _mm256_add_ps(a, b); }
ASDM_INLINE vf vsub(vf a, vf b) { return _mm256_sub_ps(a, b); }
ASDM_INLINE vf vmul(vf a, vf b) { return _mm256_mul_ps(a, b); }
ASDM_INLINE vf vdiv(vf a, vf b) { return _mm256_div_ps(a, b); }
ASDM_INLINE vf vmax(vf a, vf b) { return _mm256_max_ps(a, b); }
ASDM_INLINE vf vmin(vf a, vf b) { return _mm256_min_ps(a, b); }
ASDM_INLINE vf vsqrt(vf a) { return _mm256_sqrt_ps(a); }
ASDM_INLINE vf vabs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
ASDM_INLINE vf vfma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
using vd = __m256d;
constexpr int kVd = 4;
ASDM_INLINE vd vdset(double x) { return _mm256_set1_pd(x); }
ASDM_INLINE vd vdload(const double* p) { return _mm256_loadu_pd(p); }
ASDM_INLINE void vdstore(double* p, vd v) { _mm256_storeu_pd(p, v); }
ASDM_INLINE vd vdfma(vd a, vd b, vd c) { return _mm256_fmadd_pd(a, b, c); }
ASDM_INLINE vf vround(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
ASDM_INLINE vf vexp2i(vf a) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127)), 23));
}
ASDM_INLINE vm vlt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
ASDM_INLINE vf vselect(vm m, vf a, vf b) { return _mm256_blendv_ps(b, a, m); }
ASDM_INLINE float vsum(vf v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  s = _mm_add_ss(s, _mm_shuffle_ps(s, s, 1));
  return _mm_cvtss_f32(s);
}
ASDM_INLINE float vmaxlane(vf v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  s = _mm_max_ss(s, _mm_shuffle_ps(s, s, 1));
  return _mm_cvtss_f32(s);
}

}  // namespace asdm::cpu::ASDM_SET

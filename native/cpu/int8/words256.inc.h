// Words for 256-bit integers. Include after vec/avx2.h and the set's sizes.
#pragma once

namespace asdm::cpu::ASDM_SET::int8 {

using vi = __m256i;
ASDM_INLINE vi viZero() { return _mm256_setzero_si256(); }
ASDM_INLINE vi viSet(int32_t x) { return _mm256_set1_epi32(x); }
ASDM_INLINE vi viLoad(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
ASDM_INLINE void viStore(int32_t* p, vi v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
ASDM_INLINE vi viAdd(vi a, vi b) { return _mm256_add_epi32(a, b); }
ASDM_INLINE vi viSub(vi a, vi b) { return _mm256_sub_epi32(a, b); }
ASDM_INLINE vi viMul(vi a, vi b) { return _mm256_mullo_epi32(a, b); }
ASDM_INLINE vf viFloat(vi a) { return _mm256_cvtepi32_ps(a); }
ASDM_INLINE vi viLeft(const Left* a) {
  int32_t slot;
  std::memcpy(&slot, a, sizeof slot);
  return _mm256_set1_epi32(slot);
}

ASDM_INLINE void storeBytes(uint8_t* p, vf v) {
  const __m256i whole = _mm256_cvtps_epi32(v);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}

}  // namespace asdm::cpu::ASDM_SET::int8

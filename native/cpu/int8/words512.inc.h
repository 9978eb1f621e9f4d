// Words for 512-bit integers. Include after vec/avx512.h and the set's sizes.
#pragma once

namespace asdm::cpu::ASDM_SET::int8 {

using vi = __m512i;
ASDM_INLINE vi viZero() { return _mm512_setzero_si512(); }
ASDM_INLINE vi viSet(int32_t x) { return _mm512_set1_epi32(x); }
ASDM_INLINE vi viLoad(const int32_t* p) { return _mm512_loadu_si512(p); }
ASDM_INLINE void viStore(int32_t* p, vi v) { _mm512_storeu_si512(p, v); }
ASDM_INLINE vi viAdd(vi a, vi b) { return _mm512_add_epi32(a, b); }
ASDM_INLINE vi viSub(vi a, vi b) { return _mm512_sub_epi32(a, b); }
ASDM_INLINE vi viMul(vi a, vi b) { return _mm512_mullo_epi32(a, b); }
ASDM_INLINE vf viFloat(vi a) { return _mm512_cvtepi32_ps(a); }
ASDM_INLINE vi viLeft(const Left* a) {
  int32_t slot;
  std::memcpy(&slot, a, sizeof slot);
  return _mm512_set1_epi32(slot);
}

ASDM_INLINE void storeBytes(uint8_t* p, vf v) {
  const __m512i whole = _mm512_max_epi32(_mm512_cvtps_epi32(v), _mm512_setzero_si512());
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtusepi32_epi8(whole));
}

}  // namespace asdm::cpu::ASDM_SET::int8

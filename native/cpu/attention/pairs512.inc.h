// The words of pairs.inc.h in vectors of 512 bits, and transpose.inc.h's. Include after vec/avx512.h in a region with avx512bf16 and avx512vbmi.
#pragma once

namespace asdm::cpu::ASDM_SET {

ASDM_INLINE void vzip(vf& a, vf& b) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const vf lower = _mm512_permutex2var_ps(a, low, b);
  b = _mm512_permutex2var_ps(a, high, b);
  a = lower;
}

using vp = __m512i;  // not __m512bh, which clang 16 cannot choose between
ASDM_INLINE vp vpload(const Bf16* p) { return _mm512_loadu_si512(p); }
ASDM_INLINE void vpstore(Bf16* p, vp v) { _mm512_storeu_si512(p, v); }
ASDM_INLINE uint32_t vpfirst(int64_t n) { return n >= 32 ? ~0u : n <= 0 ? 0u : (1u << n) - 1u; }
ASDM_INLINE vp vploadn(const Bf16* p, int64_t n) { return _mm512_maskz_loadu_epi16(vpfirst(n), p); }
ASDM_INLINE vp vpjoin(const Bf16* p, const Bf16* q, int64_t n) {
  const __mmask16 mask = static_cast<__mmask16>(vpfirst(n));
  const __m512i even = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p));
  if (q == nullptr) return even;
  return _mm512_or_si512(even, _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, q)), 16));
}
ASDM_INLINE void vpsplit(Bf16* p, Bf16* q, vp v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_castsi512_si256(v));
  if (q != nullptr) _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), _mm512_extracti64x4_epi64(v, 1));
}
ASDM_INLINE vp vpflip(vp v) { return _mm512_xor_si512(v, _mm512_set1_epi16(static_cast<int16_t>(-32768))); }
ASDM_INLINE vf vpbits(vp v) { return _mm512_castsi512_ps(v); }
ASDM_INLINE vp vpfrom(vf v) { return _mm512_castps_si512(v); }
ASDM_INLINE vp vpset(const Bf16* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  return _mm512_set1_epi32(pair);
}
ASDM_INLINE vf vdot(vp a, vp b, vf c) { return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b); }
ASDM_INLINE vp vpsingle(vp v) { return _mm512_and_si512(v, _mm512_set1_epi32(0xffff)); }

// The seven bits behind the point of 2^(i / 128), i < 128.
alignas(64) constexpr uint8_t kMantissas[128] = {
    0,  1,  1,  2,   3,   4,   4,   5,   6,   6,   7,   8,   9,   9,   10,  11,  12,  12,  13,  14,  15,  15,  16,  17, 18, 19,
    19, 20, 21, 22,  23,  23,  24,  25,  26,  27,  28,  28,  29,  30,  31,  32,  33,  34,  34,  35,  36,  37,  38,  39, 40, 41,
    42, 43, 43, 44,  45,  46,  47,  48,  49,  50,  51,  52,  53,  54,  55,  56,  57,  58,  59,  60,  61,  62,  63,  64, 65, 66,
    67, 68, 69, 70,  72,  73,  74,  75,  76,  77,  78,  79,  80,  82,  83,  84,  85,  86,  87,  88,  90,  91,  92,  93, 94, 96,
    97, 98, 99, 100, 102, 103, 104, 105, 107, 108, 109, 111, 112, 113, 115, 116, 117, 118, 120, 121, 123, 124, 125, 127};
// 2^t as a bfloat16: of t in 128ths, rounded, the whole part is the exponent and a table has the rest. With the bias of exponents added,
// that is a number from 0 (all that is smaller gives zero) to less than 2^15; from NaN the conversion makes a negative one.
using vpscale = vf;
using vpnan = __m512i;
ASDM_INLINE vpscale vpscaleof(float c) { return vset(128.0f * c); }
// Finite also where no score has moved the reference from the lowest float: scores of -inf have no weight then either.
ASDM_INLINE vf vpbase(vf ref) { return vmin(vset(1e38f), vfma(ref, vset(-128.0f), vset(127.0f * 128.0f))); }
ASDM_INLINE vpnan vpnone() { return _mm512_setzero_si512(); }
ASDM_INLINE vf vpspoil(vf sum, vpnan nan) {
  return _mm512_mask_blend_ps(_mm512_movepi32_mask(nan), sum, vset(std::numeric_limits<float>::quiet_NaN()));
}
ASDM_INLINE vp vpweights(vf a, vf b, vpscale scale, vf base, vpnan& nan) {
  const __m512i first = _mm512_cvtps_epi32(vmax(vzero(), vfma(a, scale, base)));  // in this order NaN passes
  const __m512i second = _mm512_cvtps_epi32(vmax(vzero(), vfma(b, scale, base)));
  nan = _mm512_ternarylogic_epi32(nan, first, second, 0xfe);  // any of the three
  const __m512i both = _mm512_or_si512(first, _mm512_slli_epi32(second, 16));
  const __m512i mantissas = _mm512_permutex2var_epi8(_mm512_load_si512(kMantissas), both, _mm512_load_si512(kMantissas + 64));
  return _mm512_ternarylogic_epi32(_mm512_set1_epi16(0x7f), mantissas, both, 0xca);  // bit by bit: first ? second : third
}

}  // namespace asdm::cpu::ASDM_SET

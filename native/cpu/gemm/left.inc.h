// What the inner loop multiplies: steps of kGroup consecutive elements of k, one lane of 32 bits each. Sets with an instruction for
// products of bfloat16 pairs, in vectors (ASDM_VEC_BF16) or tile registers (ASDM_TILES), take two elements at a step and copy left rows
// as they are; all others take one and widen to float, left rows as they are copied, weights as they are loaded. Include after a
// vocabulary and element.inc.h.
#pragma once

namespace asdm::cpu::ASDM_SET {

// Steps that are multiplied together.
#if defined(ASDM_TILES)
constexpr int kWhole = 16;
#else
constexpr int kWhole = 1;
#endif

#if defined(ASDM_VEC_BF16) || defined(ASDM_TILES)

using Left = Bf16;  // an element of a copied row
constexpr int kGroup = 2;

#if defined(ASDM_VEC_BF16)

using Lanes = __m512i;

ASDM_INLINE Lanes loadRight(const Bf16* p) { return _mm512_loadu_si512(p); }
ASDM_INLINE Lanes spreadLeft(const Bf16* p) {
  int pair;
  std::memcpy(&pair, p, sizeof pair);
  return _mm512_set1_epi32(pair);
}
// sum + left[1] * right[1] + left[0] * right[0], rounded twice, subnormals taken for zero
ASDM_INLINE vf multiplyAdd(Lanes left, Lanes right, vf sum) { return _mm512_dpbf16_ps(sum, (__m512bh)left, (__m512bh)right); }

// Copies count elements; from null: zeros.
ASDM_INLINE void copyRun(const Bf16* from, int64_t count, Bf16* to) {
  constexpr int64_t kAtOnce = 32;
  if (from == nullptr) {
    for (; count >= kAtOnce; count -= kAtOnce, to += kAtOnce) _mm512_storeu_si512(to, _mm512_setzero_si512());
    _mm512_mask_storeu_epi16(to, (1u << count) - 1u, _mm512_setzero_si512());
    return;
  }
  for (; count >= kAtOnce; count -= kAtOnce, from += kAtOnce, to += kAtOnce) _mm512_storeu_si512(to, _mm512_loadu_si512(from));
  const __mmask32 rest = (1u << count) - 1u;
  _mm512_mask_storeu_epi16(to, rest, _mm512_maskz_loadu_epi16(rest, from));
}

#else

ASDM_INLINE void copyRun(const Bf16* from, int64_t count, Bf16* to) {
  if (from != nullptr) std::memcpy(to, from, static_cast<size_t>(count) * sizeof(Bf16));
  else std::memset(to, 0, static_cast<size_t>(count) * sizeof(Bf16));
}

#endif

#else

using Left = float;
constexpr int kGroup = 1;
using Lanes = vf;

template <class E>
ASDM_INLINE Lanes loadRight(const E* p) {
  return vload(p);
}
ASDM_INLINE Lanes spreadLeft(const float* p) { return vset(*p); }
ASDM_INLINE vf multiplyAdd(Lanes left, Lanes right, vf sum) { return vfma(left, right, sum); }

template <class E>
ASDM_INLINE void copyRun(const E* from, int64_t count, float* to) {
  int64_t i = 0;
  if (from == nullptr) {
    for (; i + kVf <= count; i += kVf) vstore(to + i, vzero());
    for (; i < count; i++) to[i] = 0.0f;
    return;
  }
  for (; i + kVf <= count; i += kVf) vstore(to + i, vload(from + i));
  for (; i < count; i++) to[i] = toFloat(from[i]);
}

#endif

}  // namespace asdm::cpu::ASDM_SET

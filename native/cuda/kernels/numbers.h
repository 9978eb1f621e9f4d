// Numbers as kernels read, compute and write them. The functions here give the same bits on a card and on the host: no contraction
// (-fmad=false), no approximate instructions.
#pragma once

#include <cmath>
#include <cstring>

#include "backend/kernels.h"
#include "core/bf16.h"
#include "cuda/device/vocabulary.h"

namespace asdm::cuda {

template <class To, class From>
ASDM_BOTH To bitsAs(From from) {
  static_assert(sizeof(To) == sizeof(From), "bits are of one size");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

ASDM_BOTH float asFloat(float x) { return x; }
ASDM_BOTH float asFloat(Bf16 x) { return bitsAs<float>(static_cast<uint32_t>(x.bits) << 16); }

template <class E>
struct Rounded;
template <>
struct Rounded<float> {
  static ASDM_BOTH float of(float x) { return x; }
};
// As toBf16() in core/bf16.h.
template <>
struct Rounded<Bf16> {
  static ASDM_BOTH Bf16 of(float x) {
    const uint32_t bits = bitsAs<uint32_t>(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>(bits >> 16 | 0x40u)};
    return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
  }
};

// Two numbers as the bfloat16 pair that mma() takes, the first in the low half.
ASDM_BOTH uint32_t packedPair(float low, float high) {
  return static_cast<uint32_t>(Rounded<Bf16>::of(high).bits) << 16 | Rounded<Bf16>::of(low).bits;
}

// Four neighbours, moved at once where `whole`, else the first `count` one by one (the rest read as 0).
template <class E>
struct Quad;
template <>
struct Quad<float> {
  static constexpr uint32_t kBytes = 16;
  static ASDM_DEVICE void load(const float* p, float (&v)[4]) {
    const Words4 words = asdm::cuda::load(reinterpret_cast<const Words4*>(p));
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) v[i] = bitsAs<float>(words.w[i]);
  }
  static ASDM_DEVICE void store(float* p, const float (&v)[4]) {
    Words4 words;
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) words.w[i] = bitsAs<uint32_t>(v[i]);
    asdm::cuda::store(reinterpret_cast<Words4*>(p), words);
  }
};
template <>
struct Quad<Bf16> {
  static constexpr uint32_t kBytes = 8;
  static ASDM_DEVICE void load(const Bf16* p, float (&v)[4]) {
    const Words2 words = asdm::cuda::load(reinterpret_cast<const Words2*>(p));
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) v[i] = bitsAs<float>(i % 2 == 0 ? words.w[i / 2] << 16 : words.w[i / 2] & 0xffff0000u);
  }
  static ASDM_DEVICE void store(Bf16* p, const float (&v)[4]) {
    asdm::cuda::store(reinterpret_cast<Words2*>(p), Words2{{packedPair(v[0], v[1]), packedPair(v[2], v[3])}});
  }
};
template <class E>
ASDM_DEVICE void loadFour(const E* p, bool whole, int count, float (&v)[4]) {
  if (whole) {
    Quad<E>::load(p, v);
    return;
  }
  ASDM_UNROLL
  for (int i = 0; i < 4; i++) v[i] = i < count ? asFloat(load(p + i)) : 0.0f;
}
template <class E>
ASDM_DEVICE void storeFour(E* p, bool whole, int count, const float (&v)[4]) {
  if (whole) {
    Quad<E>::store(p, v);
    return;
  }
  ASDM_UNROLL
  for (int i = 0; i < 4; i++)
    if (i < count) store(p + i, Rounded<E>::of(v[i]));
}

// May four neighbours of a row of this distance be moved at once, wherever the row and a column that is a multiple of 4? Null may.
template <class E>
inline bool quadsFit(const void* p, int64_t ld) {
  return reinterpret_cast<uintptr_t>(p) % Quad<E>::kBytes == 0 && ld % 4 == 0;
}

// e^x to about 1 ulp, as cpu/vec/math.inc.h has it: x = n ln 2 + r in two parts (Cody & Waite 1980), a polynomial of degree 6.
ASDM_BOTH float exponential(float x) {
  if (!(x == x)) return x;
  if (x < -87.33f) return 0.0f;
  const float c = x > 88.37f ? 88.37f : x;
  float n = rintf(c * 1.44269504f);
  float r = fmaf(n, -0.693359375f, c);
  r = fmaf(n, 2.12194440e-4f, r);
  float p = 0.0013836834f;
  p = fmaf(p, r, 0.008374816f);
  p = fmaf(p, r, 0.041668225f);
  p = fmaf(p, r, 0.1666642f);
  p = fmaf(p, r, 0.4999999f);
  p = fmaf(p, r, 1.0f);
  p = fmaf(p, r, 1.0f);
  n = n > 127.0f ? 127.0f : n;
  return p * bitsAs<float>(static_cast<uint32_t>(static_cast<int32_t>(n) + 127) << 23);
}

ASDM_BOTH float silu(float x) { return x / (1.0f + exponential(-x)); }
ASDM_BOTH float quickGelu(float x) { return x / (1.0f + exponential(x * -1.702f)); }
// By erf; the polynomials are those of cpu/vec/math.inc.h.
ASDM_BOTH float gelu(float x) {
  const float z = fabsf(x) * 0.70710678f;
  float e;
  if (z < 1.0f) {
    const float s = z * z;
    float p = 7.889113e-05f;
    p = fmaf(p, s, -0.00080208393f);
    p = fmaf(p, s, 0.005189535f);
    p = fmaf(p, s, -0.026854444f);
    p = fmaf(p, s, 0.112836f);
    p = fmaf(p, s, -0.37612626f);
    p = fmaf(p, s, 1.1283791f);
    e = z * p;
  } else {
    const float c = z > 4.0f ? 4.0f : z;
    float g = 1.4134167e-05f;
    g = fmaf(g, c, -0.00035233542f);
    g = fmaf(g, c, 0.0037646734f);
    g = fmaf(g, c, -0.024025537f);
    g = fmaf(g, c, 0.10654914f);
    g = fmaf(g, c, 0.63495827f);
    g = fmaf(g, c, 1.1286972f);
    e = 1.0f - exponential(-c * g);
  }
  return 0.5f * x * (1.0f + (x < 0.0f ? -e : e));
}

// 3 tanh(x / 3), as cpu/vec/math.inc.h has it.
ASDM_BOTH float softClamp(float x) {
  const float t = exponential(fabsf(x) * (-2.0f / 3.0f)), clamped = 3.0f * (1.0f - t) / (1.0f + t);
  return x < 0.0f ? -clamped : clamped;
}

ASDM_BOTH float activated(Activation activation, float x) {
  switch (activation) {
    case Activation::Silu: return silu(x);
    case Activation::Gelu: return gelu(x);
    case Activation::QuickGelu: return quickGelu(x);
    case Activation::Relu: return x < 0.0f ? 0.0f : x;
    case Activation::SoftClamp: return softClamp(x);
    case Activation::FromSigned: return (x + 1.0f) * 0.5f;
    case Activation::ToSigned: return x * 2.0f - 1.0f;
    case Activation::None: break;
  }
  return x;
}

ASDM_BOTH int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
// a / b of numbers that are not negative, by the short division where they are short: a card has no instruction for either.
ASDM_BOTH int64_t quotient(int64_t a, int64_t b) {
  if (((a | b) >> 32) != 0) return a / b;
  return static_cast<int64_t>(static_cast<uint32_t>(a) / static_cast<uint32_t>(b));
}
ASDM_BOTH int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

}  // namespace asdm::cuda

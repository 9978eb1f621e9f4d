// bfloat16: the upper half of a float. Eight bits of significand (2^-8 is its unit of rounding), float's range.
#pragma once

#include <cstdint>
#include <cstring>

namespace asdm {

struct Bf16 {
  uint16_t bits;
};

inline float toFloat(Bf16 b) {
  const uint32_t bits = static_cast<uint32_t>(b.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline float toFloat(float x) { return x; }

// Nearest, ties to even; NaN stays NaN, and what is beyond the largest becomes infinity.
inline Bf16 toBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>(bits >> 16 | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}

}  // namespace asdm

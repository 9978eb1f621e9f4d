// Plain C++ vocabulary, four lanes, that every compiler accepts and most turn into the machine's baseline vectors; see README.md.
// Include with ASDM_SET defined and <cmath>, <cstdint>, <cstring> included before.
#pragma once

#include "core/bf16.h"

namespace asdm::cpu::ASDM_SET {

constexpr int kVf = 4;
struct vf {
  float lane[kVf];
};
struct vm {
  bool lane[kVf];
};

// From any address, where a pointer to T may not point.
template <class T>
ASDM_INLINE T fromBytes(const unsigned char* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

// Exponent and mantissa moved into place are the value times 2^-112, since the two formats' biases differ by 112: subnormals
// included. All ones in the exponent mean infinity or NaN, which no multiplication makes.
ASDM_INLINE float fromHalf(const unsigned char* p) {
  const uint16_t h = fromBytes<uint16_t>(p);
  const uint32_t magnitude = static_cast<uint32_t>(h & 0x7fffu) << 13, sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  float value;
  std::memcpy(&value, &magnitude, sizeof value);
  value *= 0x1p112f;
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits = ((h & 0x7c00u) == 0x7c00u ? magnitude | 0x7f800000u : bits) | sign;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

#define ASDM_EACH(expression)                               \
  vf out;                                                   \
  for (int i = 0; i < kVf; i++) out.lane[i] = (expression); \
  return out

ASDM_INLINE vf vset(float x) { ASDM_EACH(x); }
ASDM_INLINE vf vzero() { return vset(0.0f); }
ASDM_INLINE vf vload(const float* p) { ASDM_EACH(p[i]); }
ASDM_INLINE void vstore(float* p, vf v) {
  for (int i = 0; i < kVf; i++) p[i] = v.lane[i];
}
ASDM_INLINE vf vloadn(const float* p, int n) { ASDM_EACH(i < n ? p[i] : 0.0f); }
ASDM_INLINE void vstoren(float* p, vf v, int n) {
  for (int i = 0; i < n && i < kVf; i++) p[i] = v.lane[i];
}
ASDM_INLINE vf vloadh(const uint16_t* p) { ASDM_EACH(toFloat(Bf16{p[i]})); }
ASDM_INLINE vf vloadhn(const uint16_t* p, int n) { ASDM_EACH(i < n ? toFloat(Bf16{p[i]}) : 0.0f); }
ASDM_INLINE void vstoreh(uint16_t* p, vf v) {
  for (int i = 0; i < kVf; i++) p[i] = toBf16(v.lane[i]).bits;
}
ASDM_INLINE void vstorehn(uint16_t* p, vf v, int n) {
  for (int i = 0; i < n && i < kVf; i++) p[i] = toBf16(v.lane[i]).bits;
}
ASDM_INLINE vf vloadf32(const unsigned char* p) { ASDM_EACH(fromBytes<float>(p + 4 * i)); }
ASDM_INLINE vf vloadbf16(const unsigned char* p) { ASDM_EACH(toFloat(Bf16{fromBytes<uint16_t>(p + 2 * i)})); }
ASDM_INLINE vf vloadf16(const unsigned char* p) { ASDM_EACH(fromHalf(p + 2 * i)); }
ASDM_INLINE vf vadd(vf a, vf b) { ASDM_EACH(a.lane[i] + b.lane[i]); }
ASDM_INLINE vf vsub(vf a, vf b) { ASDM_EACH(a.lane[i] - b.lane[i]); }
ASDM_INLINE vf vmul(vf a, vf b) { ASDM_EACH(a.lane[i] * b.lane[i]); }
ASDM_INLINE vf vdiv(vf a, vf b) { ASDM_EACH(a.lane[i] / b.lane[i]); }
ASDM_INLINE vf vmax(vf a, vf b) { ASDM_EACH(a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]); }
ASDM_INLINE vf vmin(vf a, vf b) { ASDM_EACH(a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]); }
ASDM_INLINE vf vsqrt(vf a) { ASDM_EACH(std::sqrt(a.lane[i])); }
ASDM_INLINE vf vabs(vf a) { ASDM_EACH(std::fabs(a.lane[i])); }
ASDM_INLINE vf vfma(vf a, vf b, vf c) { ASDM_EACH(a.lane[i] * b.lane[i] + c.lane[i]); }
using vd = double;
constexpr int kVd = 1;
ASDM_INLINE vd vdset(double x) { return x; }
ASDM_INLINE vd vdload(const double* p) { return *p; }
ASDM_INLINE void vdstore(double* p, vd v) { *p = v; }
ASDM_INLINE vd vdfma(vd a, vd b, vd c) { return a * b + c; }
// Adding and taking away 1.5 * 2^23 rounds to the nearest integer, ties to even, for |a| < 2^22; larger values are kept.
ASDM_INLINE vf vround(vf a) { ASDM_EACH(std::fabs(a.lane[i]) < 4194304.0f ? (a.lane[i] + 12582912.0f) - 12582912.0f : a.lane[i]); }
ASDM_INLINE vf vexp2i(vf a) {
  vf out;
  for (int i = 0; i < kVf; i++) {
    // NaN fails the comparison: converting it to an integer would be undefined.
    const int32_t power = a.lane[i] >= -126.0f ? static_cast<int32_t>(a.lane[i]) : -126;
    const uint32_t bits = static_cast<uint32_t>(power + 127) << 23;
    std::memcpy(&out.lane[i], &bits, sizeof bits);
  }
  return out;
}
ASDM_INLINE vm vlt(vf a, vf b) {
  vm out;
  for (int i = 0; i < kVf; i++) out.lane[i] = a.lane[i] < b.lane[i];
  return out;
}
ASDM_INLINE vf vselect(vm m, vf a, vf b) { ASDM_EACH(m.lane[i] ? a.lane[i] : b.lane[i]); }
ASDM_INLINE float vsum(vf v) { return (v.lane[0] + v.lane[2]) + (v.lane[1] + v.lane[3]); }
ASDM_INLINE float vmaxlane(vf v) {
  float best = v.lane[0];
  for (int i = 1; i < kVf; i++) best = v.lane[i] > best ? v.lane[i] : best;
  return best;
}

#undef ASDM_EACH

}  // namespace asdm::cpu::ASDM_SET

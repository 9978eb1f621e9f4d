#include "weights/convert.h"

#include <cstring>

namespace asdm {

namespace {

float fromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

uint16_t half(const unsigned char* from, size_t i) {
  uint16_t h;
  std::memcpy(&h, from + 2 * i, sizeof h);
  return h;
}

// Exponent and mantissa moved into place are the value times 2^-112, since the two formats' biases differ by 112: subnormals
// included. All ones in the exponent mean infinity or NaN, which no multiplication makes.
float fromHalf(uint16_t h) {
  const uint32_t magnitude = static_cast<uint32_t>(h & 0x7fffu) << 13, sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const float scaled = fromBits(magnitude) * fromBits(0x77800000u);  // 2^112
  uint32_t bits;
  std::memcpy(&bits, &scaled, sizeof bits);
  const uint32_t special = magnitude | 0x7f800000u;
  return fromBits(((h & 0x7c00u) == 0x7c00u ? special : bits) | sign);
}

}  // namespace

void convertToFloat(DType dtype, const void* source, size_t count, float* to) {
  const unsigned char* from = static_cast<const unsigned char*>(source);
  if (dtype == DType::F16) {
    for (size_t i = 0; i < count; i++) to[i] = fromHalf(half(from, i));
  } else if (dtype == DType::BF16) {
    for (size_t i = 0; i < count; i++) to[i] = fromBits(static_cast<uint32_t>(half(from, i)) << 16);
  } else if (static_cast<const void*>(to) != source) {
    std::memcpy(to, from, count * sizeof(float));
  }
}

bool allFinite(const float* values, size_t count) {
  uint32_t bad = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t bits;
    std::memcpy(&bits, values + i, sizeof bits);
    bad |= static_cast<uint32_t>((bits & 0x7f800000u) == 0x7f800000u);
  }
  return bad == 0;
}

}  // namespace asdm

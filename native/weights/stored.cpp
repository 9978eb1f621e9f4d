#include "weights/stored.h"

#include <cstring>

namespace asdm {

namespace {

float floatOf(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The formats of Micikevicius et al. 2022 (arXiv 2209.05433): exponent biases of 7 and 15. NaN has the bits that PyTorch gives it.
float ofE4M3(uint8_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x80u) << 24, magnitude = bits & 0x7fu;
  if (magnitude == 0x7f) return floatOf(sign | 0x7ff00000u);
  if (magnitude >= 8) return floatOf(sign | ((magnitude << 20) + (120u << 23)));
  const float steps = static_cast<float>(magnitude) * 0x1p-9f;
  return sign != 0 ? -steps : steps;
}

float ofE5M2(uint8_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x80u) << 24, magnitude = bits & 0x7fu;
  if (magnitude > 0x7c) return floatOf(sign | 0x7fc00000u | ((magnitude & 3u) << 21));
  if (magnitude == 0x7c) return floatOf(sign | 0x7f800000u);
  if (magnitude >= 4) return floatOf(sign | ((magnitude << 21) + (112u << 23)));
  const float steps = static_cast<float>(magnitude) * 0x1p-16f;
  return sign != 0 ? -steps : steps;
}

}  // namespace

void widen(StoredType type, const void* from, int64_t count, float* to) noexcept {
  const auto* bytes = static_cast<const uint8_t*>(from);
  for (int64_t i = 0; i < count; i++) {
    if (type == StoredType::F64) {
      double value;
      std::memcpy(&value, bytes + i * 8, sizeof value);
      to[i] = static_cast<float>(value);
    } else {
      to[i] = type == StoredType::F8E4M3 ? ofE4M3(bytes[i]) : ofE5M2(bytes[i]);
    }
  }
}

}  // namespace asdm

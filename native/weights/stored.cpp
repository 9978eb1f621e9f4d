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

float ofF16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
  if (magnitude >= 0x7c00) return floatOf(sign | (magnitude << 13) | 0x7f800000u);
  if (magnitude >= 0x400) return floatOf(sign | ((magnitude << 13) + (112u << 23)));
  const float steps = static_cast<float>(magnitude) * 0x1p-24f;
  return sign != 0 ? -steps : steps;
}

template <class Bits, class Convert>
void each(const uint8_t* bytes, int64_t count, float* to, const Convert& convert) {
  for (int64_t i = 0; i < count; i++) {
    Bits bits;
    std::memcpy(&bits, bytes + i * static_cast<int64_t>(sizeof bits), sizeof bits);
    to[i] = convert(bits);
  }
}

}  // namespace

void widen(StoredType type, const void* from, int64_t count, float* to) noexcept {
  const auto* bytes = static_cast<const uint8_t*>(from);
  switch (type) {
    case StoredType::F32: std::memmove(to, bytes, static_cast<size_t>(count) * sizeof(float)); break;
    case StoredType::F16: each<uint16_t>(bytes, count, to, ofF16); break;
    case StoredType::BF16:
      each<uint16_t>(bytes, count, to, [](uint16_t bits) { return floatOf(static_cast<uint32_t>(bits) << 16); });
      break;
    case StoredType::F64: each<double>(bytes, count, to, [](double value) { return static_cast<float>(value); }); break;
    case StoredType::F8E4M3: each<uint8_t>(bytes, count, to, ofE4M3); break;
    case StoredType::F8E5M2: each<uint8_t>(bytes, count, to, ofE5M2); break;
  }
}

}  // namespace asdm

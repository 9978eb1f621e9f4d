#include "cuda/kernels/pack.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "core/bf16.h"

namespace asdm::cuda {

namespace {

float ofHalf(uint16_t half) {  // IEEE 754 binary16
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16, magnitude = half & 0x7fffu;
  uint32_t bits;
  float value;
  if (magnitude >= 0x7c00u) {
    bits = 0x7f800000u | (magnitude & 0x3ffu) << 13;
  } else if (magnitude >= 0x400u) {
    bits = (magnitude << 13) + (112u << 23);
  } else {
    value = static_cast<float>(magnitude) * (1.0f / 16777216.0f);  // 2^-24
    std::memcpy(&bits, &value, sizeof bits);
  }
  bits |= sign;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

float numberAt(DType stored, const unsigned char* from, int64_t i) {
  if (stored == DType::F32) {
    float value;
    std::memcpy(&value, from + i * 4, sizeof value);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, from + i * 2, sizeof bits);
  return stored == DType::F16 ? ofHalf(bits) : toFloat(Bf16{bits});
}

void keep(DType kept, float value, unsigned char* to, int64_t i) {
  if (kept == DType::F32) {
    std::memcpy(to + i * 4, &value, sizeof value);
  } else {
    const Bf16 rounded = toBf16(value);
    std::memcpy(to + i * 2, &rounded, sizeof rounded);
  }
}

// As cpu/int8/int8.h says: the largest weight of a feature is 127.
bool quantizeRow(const WeightShape& shape, DType stored, const unsigned char* from, unsigned char* to, float* scale, int32_t* sum) {
  const int64_t k = shape.k();
  float most = 0;
  bool finite = true;
  for (int64_t i = 0; i < k; i++) {
    const float value = std::fabs(numberAt(stored, from, i));
    finite = finite && std::isfinite(value);
    most = value > most ? value : most;
  }
  const float inverse = finite && most > 1e-30f ? 127.0f / most : 0.0f;
  *scale = !finite ? std::numeric_limits<float>::quiet_NaN() : most > 1e-30f ? most / 127.0f : 0.0f;
  *sum = 0;
  for (int64_t channel = 0; channel < shape.channels; channel++)
    for (int64_t tap = 0; tap < shape.area; tap++) {
      const float value = numberAt(stored, from, channel * shape.area + tap);
      const auto q = inverse == 0.0f ? int8_t{0} : static_cast<int8_t>(std::nearbyint(value * inverse));
      *sum += q;
      to[tap * shape.channels + channel] = static_cast<unsigned char>(q);
    }
  return finite;
}

}  // namespace

DType keptAs(const WeightShape& shape, DType activations) {
  return shape.format == WeightFormat::I8 ? DType::I8 : shape.format == WeightFormat::F32 ? DType::F32 : activations;
}

int64_t rowBytes(const WeightShape& shape, DType activations) {
  return (shape.k() * dtypeBytes(keptAs(shape, activations)) + 63) / 64 * 64;
}

size_t packedBytes(const WeightShape& shape, DType activations) {
  const int64_t perRow = rowBytes(shape, activations) + (shape.format == WeightFormat::I8 ? 8 : 0);
  return static_cast<size_t>(shape.n * perRow);
}

bool packRows(const PackArgs& a, DType activations, unsigned char* to, float* scales, int32_t* sums) {
  const WeightShape& shape = a.shape;
  const DType kept = keptAs(shape, activations);
  const int64_t bytes = rowBytes(shape, activations), k = shape.k();
  const auto* from = static_cast<const unsigned char*>(a.source);
  bool finite = true;
  for (int64_t row = 0; row < a.rows; row++, from += k * dtypeBytes(a.stored), to += bytes) {
    std::memset(to + k * dtypeBytes(kept), 0, static_cast<size_t>(bytes - k * dtypeBytes(kept)));
    if (kept == DType::I8) {
      finite = quantizeRow(shape, a.stored, from, to, scales + row, sums + row) && finite;
      continue;
    }
    for (int64_t channel = 0; channel < shape.channels; channel++)
      for (int64_t tap = 0; tap < shape.area; tap++) {
        const float value = numberAt(a.stored, from, channel * shape.area + tap);
        finite = finite && std::isfinite(value);
        keep(kept, value, to, tap * shape.channels + channel);
      }
  }
  return finite;
}

bool convertNumbers(const NumbersArgs& a) {
  bool finite = true;
  for (int64_t i = 0; i < a.count; i++) {
    const float value = numberAt(a.stored, static_cast<const unsigned char*>(a.from), i);
    finite = finite && std::isfinite(value);
    keep(a.kept, value, static_cast<unsigned char*>(a.to), i);
  }
  return finite;
}

}  // namespace asdm::cuda

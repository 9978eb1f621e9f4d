// Number formats of tensors in files, and the way to those that kernels read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/tensor.h"

namespace asdm {

// safetensors' names. F8E4M3 is PyTorch's float8_e4m3fn, without infinities.
enum class StoredType : uint8_t { F32, F16, BF16, F64, F8E4M3, F8E5M2 };

inline int64_t storedBytes(StoredType type) {
  switch (type) {
    case StoredType::F64: return 8;
    case StoredType::F32: return 4;
    case StoredType::F16:
    case StoredType::BF16: return 2;
    case StoredType::F8E4M3:
    case StoredType::F8E5M2: return 1;
  }
  return 0;
}

// What kernels are handed: the type itself, or F32 for types that they do not read, which widen() makes of it.
inline DType handedType(StoredType type) {
  return type == StoredType::F16 ? DType::F16 : type == StoredType::BF16 ? DType::BF16 : DType::F32;
}

inline bool isWidened(StoredType type) { return type == StoredType::F64 || type == StoredType::F8E4M3 || type == StoredType::F8E5M2; }

// Memory that so many numbers take while they are read: as stored, behind those floats where there are any.
inline int64_t stagingBytes(StoredType type, int64_t numbers) {
  return numbers * (storedBytes(type) + (isWidened(type) ? dtypeBytes(DType::F32) : 0));
}

// Where in such memory they are to be read to.
inline std::byte* storedPlace(StoredType type, int64_t numbers, std::byte* staging) {
  return staging + (isWidened(type) ? numbers * dtypeBytes(DType::F32) : 0);
}

// to[i] = from[i], from any address: exactly, as PyTorch; float64 rounded to the nearest, ties to even.
void widen(StoredType type, const void* from, int64_t count, float* to) noexcept;

}  // namespace asdm

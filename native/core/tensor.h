// Shapes and element types. There is one activation layout: channels last. An image or latent is [N, H, W, C], a token sequence
// [N, L, C]; both are a matrix of rows x C, which is what most kernels see.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace asdm {

enum class DType : uint8_t { F32, F16, BF16, I8, I32 };

inline int64_t dtypeBytes(DType t) {
  switch (t) {
    case DType::F32:
    case DType::I32: return 4;
    case DType::F16:
    case DType::BF16: return 2;
    case DType::I8: return 1;
  }
  return 0;
}

// As options and messages call it.
inline const char* dtypeName(DType t) {
  switch (t) {
    case DType::F32: return "fp32";
    case DType::F16: return "fp16";
    case DType::BF16: return "bf16";
    case DType::I8: return "int8";
    case DType::I32: return "int32";
  }
  return "";
}

// As messages have shapes: "[1,320,64,64]".
inline std::string shapeText(const int64_t* dims, size_t rank) {
  std::string out = "[";
  for (size_t i = 0; i < rank; i++) out += (i ? "," : "") + std::to_string(dims[i]);
  return out + "]";
}

inline std::string shapeText(const std::vector<int64_t>& dims) { return shapeText(dims.data(), dims.size()); }

struct Shape {
  static constexpr int kMaxRank = 4;
  std::array<int64_t, kMaxRank> dims{{1, 1, 1, 1}};
  int rank = 0;

  Shape() = default;
  Shape(std::initializer_list<int64_t> list) {
    for (int64_t d : list)
      if (rank < kMaxRank) dims[rank++] = d;
  }
  int64_t operator[](int i) const { return dims[i]; }
  int64_t& operator[](int i) { return dims[i]; }
  int64_t count() const {
    int64_t product = 1;
    for (int i = 0; i < rank; i++) product *= dims[i];
    return product;
  }
  int64_t channels() const { return rank ? dims[rank - 1] : 1; }  // innermost
  int64_t rows() const { return channels() ? count() / channels() : 0; }
  bool operator==(const Shape& o) const {
    if (rank != o.rank) return false;
    for (int i = 0; i < rank; i++)
      if (dims[i] != o.dims[i]) return false;
    return true;
  }
  bool operator!=(const Shape& o) const { return !(*this == o); }
  std::string text() const { return shapeText(dims.data(), static_cast<size_t>(rank)); }
};

}  // namespace asdm

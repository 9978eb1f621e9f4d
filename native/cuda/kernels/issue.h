// How ops are put on a queue: one function each, which launches the op's kernels; contracts in backend/arguments.h. Every function has one
// beside it that says how much scratch it wants.
#pragma once

#include <cstddef>

#include "backend/kernels.h"
#include "core/bf16.h"
#include "cuda/device/vocabulary.h"

namespace asdm::cuda {

// Where an op's launches go. scratch: device memory, 64-byte aligned.
struct Issue {
  Stream& stream;
  std::byte* scratch;
};

// Hands out pieces of scratch, or counts them.
class Carver {
 public:
  explicit Carver(std::byte* scratch) : scratch_(scratch) {}
  template <class T>
  T* take(int64_t count) {
    const size_t at = bytes_;
    bytes_ += (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return scratch_ == nullptr ? nullptr : reinterpret_cast<T*>(scratch_ + at);
  }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* scratch_;
  size_t bytes_ = 0;
};

// A row of packed weights: k numbers, and zeros up to a multiple of 64 bytes.
inline int64_t packedRowBytes(const WeightShape& shape, int64_t numberBytes) { return (shape.k() * numberBytes + 63) / 64 * 64; }

// Products: activations E, weights W, summed as floats (product_simt.h). half: of bfloat16 on the tensor cores; bytes: of WeightFormat::I8.
template <class E, class W>
struct FloatProducts {
  static void linear(const LinearArgs&, Issue&);
  static void conv(const ConvArgs&, Issue&);
  static void condConv(const CondConvArgs&, Issue&);
  static size_t linearScratch(const LinearArgs&);
  static size_t convScratch(const ConvArgs&);
  static size_t condConvScratch(const CondConvArgs&);
};
struct HalfProducts {
  static void linear(const LinearArgs&, Issue&);
  static void conv(const ConvArgs&, Issue&);
  static void condConv(const CondConvArgs&, Issue&);
  static size_t linearScratch(const LinearArgs&);
  static size_t convScratch(const ConvArgs&);
  static size_t condConvScratch(const CondConvArgs&);
};
// kTensor: on the tensor cores.
template <bool kTensor>
struct ByteProducts {
  static void linear(const LinearArgs&, Issue&);
  static void conv(const ConvArgs&, Issue&);
  static size_t linearScratch(const LinearArgs&);
  static size_t convScratch(const ConvArgs&);
};

template <class E, bool kTensor>
struct Attentions {
  static void attention(const AttentionArgs&, Issue&);
};

template <class E>
struct Norms {
  static void groupNorm(const GroupNormArgs&, Issue&);
  static void layerNorm(const LayerNormArgs&, Issue&);
  static size_t groupNormScratch(const GroupNormArgs&);
};

template <class E>
struct Elementwise {
  static void geglu(const GegluArgs&, Issue&);
  static void activation(const ActivationArgs&, Issue&);
  static void add(const AddArgs&, Issue&);
  static void concat(const ConcatArgs&, Issue&);
  static void embed(const EmbedArgs&, Issue&);
  static void timestep(const TimestepArgs&, Issue&);
  static void line(const LineArgs&, Issue&);
  static void change(const ChangeArgs&, Issue&);
  static size_t changeScratch(const ChangeArgs&);
  static void toChannelsLast(const LayoutArgs&, Issue&);
  static void toChannelsFirst(const LayoutArgs&, Issue&);
};

void copyBytes(const CopyArgs&, Issue&);

}  // namespace asdm::cuda

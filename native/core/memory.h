// Aligned blocks that report failure instead of throwing or aborting.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define ASDM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASDM_ASAN 1
#endif
#endif

namespace asdm {

// 64 bytes: a cache line and an AVX-512 register.
constexpr size_t kAlignment = 64;

inline size_t alignUp(size_t bytes) { return (bytes + kAlignment - 1) & ~(kAlignment - 1); }

// Tells the address sanitizer that nothing may touch these bytes of a block; for gaps between what shares one.
void forbid(std::byte* data, size_t bytes);

// Owns an aligned block, or nothing. On Linux large ones lie in huge pages where the system has them.
class Block {
 public:
  Block() = default;
  ~Block();
  Block(Block&& other) noexcept : data_(other.data_), bytes_(other.bytes_) { other.data_ = nullptr; other.bytes_ = 0; }
  Block& operator=(Block&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  // Replaces the block by one of this size (contents unspecified); false, and an empty block, when memory is out.
  bool allocate(size_t bytes);
  void release();
  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace asdm

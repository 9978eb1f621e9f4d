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

// alignment: a power of two.
inline uint64_t alignUp(uint64_t bytes, uint64_t alignment = kAlignment) { return (bytes + alignment - 1) & ~(alignment - 1); }

// Tells the address sanitizer that nothing may touch these bytes of a block; for gaps between what shares one.
void forbid(std::byte* data, size_t bytes);

// An aligned block, or null when memory is out; bytes > 0. On Linux large ones lie in huge pages where the system has them.
std::byte* allocateBlock(size_t bytes) noexcept;
void releaseBlock(std::byte* data, size_t bytes) noexcept;

// Owns an aligned block, or nothing.
class Block {
 public:
  Block() = default;
  ~Block();
  Block(Block&& other) noexcept : data_(other.data_), bytes_(other.bytes_) {
    other.data_ = nullptr;
    other.bytes_ = 0;
  }
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

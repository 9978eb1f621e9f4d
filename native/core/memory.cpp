#include "core/memory.h"

#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(ASDM_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace asdm {

namespace {

#if defined(__linux__) && defined(MADV_HUGEPAGE) && !defined(ASDM_ASAN)

// Large blocks are mapped by themselves, begin at a huge page, and ask for huge pages: a page fault then gives 2 MiB instead of
// 4 KiB, and walking through weights misses the TLB less. What is left over at the end comes in small pages, so nothing is wasted.
constexpr size_t kHugePage = size_t{1} << 21;
constexpr size_t kPage = size_t{1} << 16;  // a multiple of the page size of every Linux

bool isMapped(size_t bytes) { return bytes >= 2 * kHugePage; }

size_t mappedBytes(size_t bytes) { return (bytes + kPage - 1) & ~(kPage - 1); }

std::byte* mapHuge(size_t bytes) {
  const size_t wanted = mappedBytes(bytes), room = wanted + kHugePage;
  void* const got = ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (got == MAP_FAILED) return nullptr;
  std::byte* const begin = static_cast<std::byte*>(got);
  const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage, after = room - before - wanted;
  if (before > 0) ::munmap(begin, before);
  if (after > 0) ::munmap(begin + before + wanted, after);
  ::madvise(begin + before, wanted, MADV_HUGEPAGE);  // a system without them refuses, and gives small ones
  return begin + before;
}

void unmapHuge(std::byte* data, size_t bytes) { ::munmap(data, mappedBytes(bytes)); }

#else

bool isMapped(size_t) { return false; }
std::byte* mapHuge(size_t) { return nullptr; }
void unmapHuge(std::byte*, size_t) {}

#endif

#if defined(ASDM_ASAN)

std::byte* allocateAligned(size_t bytes) {
  return static_cast<std::byte*>(::operator new(alignUp(bytes), std::align_val_t(kAlignment), std::nothrow));
}

void releaseAligned(std::byte* data) { ::operator delete(data, std::align_val_t(kAlignment)); }

#else

// Aligned by hand: glibc's aligned allocation (2.36) looks for a free block larger than asked by the alignment, so it passes over the one of
// equal size that was freed before, and requests of equal sizes grow the heap for some hundred requests. In front stands what to free.
std::byte* allocateAligned(size_t bytes) {
  void* const begin = std::malloc(alignUp(bytes) + kAlignment + sizeof(void*));
  if (begin == nullptr) return nullptr;
  std::byte* const data = reinterpret_cast<std::byte*>(alignUp(reinterpret_cast<uintptr_t>(begin) + sizeof(void*)));
  std::memcpy(data - sizeof(void*), &begin, sizeof(void*));
  return data;
}

void releaseAligned(std::byte* data) {
  if (data == nullptr) return;
  void* begin;
  std::memcpy(&begin, data - sizeof(void*), sizeof(void*));
  std::free(begin);
}

#endif

}  // namespace

std::byte* allocateBlock(size_t bytes) noexcept {
  if (bytes > SIZE_MAX / 2) return nullptr;
  return isMapped(bytes) ? mapHuge(bytes) : allocateAligned(bytes);
}

void releaseBlock(std::byte* data, size_t bytes) noexcept {
  if (isMapped(bytes)) unmapHuge(data, bytes);
  else releaseAligned(data);
}

Block::~Block() { release(); }

bool Block::allocate(size_t bytes) {
  release();
  if (bytes == 0) return true;
  data_ = allocateBlock(bytes);
  if (data_ == nullptr) return false;
  bytes_ = bytes;
  return true;
}

void Block::release() {
  if (data_ != nullptr) releaseBlock(data_, bytes_);
  data_ = nullptr;
  bytes_ = 0;
}

void forbid(std::byte* data, size_t bytes) {
#if defined(ASDM_ASAN)
  __asan_poison_memory_region(data, bytes);
#else
  (void)data;
  (void)bytes;
#endif
}

}  // namespace asdm

#include "core/memory.h"

#include <new>

namespace asdm {

Block::~Block() { release(); }

bool Block::allocate(size_t bytes) {
  release();
  if (bytes == 0) return true;
  if (bytes > SIZE_MAX / 2) return false;
  data_ = static_cast<std::byte*>(::operator new(alignUp(bytes), std::align_val_t(kAlignment), std::nothrow));
  if (data_ == nullptr) return false;
  bytes_ = bytes;
  return true;
}

void Block::release() {
  if (data_ != nullptr) ::operator delete(data_, std::align_val_t(kAlignment));
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace asdm

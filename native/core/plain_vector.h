// A vector of numbers that leaves new elements unset, so that memory which is about to be overwritten is not touched twice: the first touch
// of hundreds of megabytes takes longer than a pass may go on after it was cancelled.
#pragma once

#include <memory>
#include <utility>
#include <vector>

namespace asdm {

template <class T>
struct PlainAllocator : std::allocator<T> {
  template <class U>
  struct rebind {
    using other = PlainAllocator<U>;
  };
  PlainAllocator() noexcept = default;
  template <class U>
  PlainAllocator(const PlainAllocator<U>&) noexcept {}  // NOLINT: containers convert

  template <class U>
  void construct(U* place) noexcept {
    ::new (static_cast<void*>(place)) U;
  }
  template <class U, class... Arguments>
  void construct(U* place, Arguments&&... arguments) {
    ::new (static_cast<void*>(place)) U(std::forward<Arguments>(arguments)...);
  }
};

template <class T>
using PlainVector = std::vector<T, PlainAllocator<T>>;

}  // namespace asdm

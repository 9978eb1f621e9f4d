// A fibre: a function with a stack of its own, left and entered by hand. What the emulated threads of a block are.
#pragma once

#include <cstddef>

#if !(defined(__x86_64__) && defined(__linux__))
#include <ucontext.h>
#endif

namespace asdm::cuda::emulation {

class Fibre {
 public:
  static constexpr size_t kStackBytes = 64 * 1024;

  // Prepares a call of body(context) on a stack of kStackBytes, which it must not return from (it leaves for good instead).
  void prepare(unsigned char* stack, void (*body)(void*), void* context);
  // Leaves the caller for this fibre until leave().
  void enter();
  // From within: back to who entered.
  void leave();

 private:
#if defined(__x86_64__) && defined(__linux__)
  void* inside_ = nullptr;
  void* outside_ = nullptr;
#else
  static void begin(unsigned high, unsigned low);
  ucontext_t inside_, outside_;
  void (*body_)(void*) = nullptr;
  void* context_ = nullptr;
#endif
};

}  // namespace asdm::cuda::emulation

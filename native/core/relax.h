// What a thread does between two looks at a value that another is about to change.
#pragma once

#include <thread>

#if defined(_MSC_VER) || defined(__SSE2__)
#include <immintrin.h>
#endif

namespace asdm {

inline void relax() {
#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
  _mm_pause();
#elif defined(__SSE2__)
  _mm_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
  asm volatile("yield");
#else
  std::this_thread::yield();
#endif
}

}  // namespace asdm

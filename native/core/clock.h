// Time for the sharing out of work: cheap enough to be read around each operation.
#pragma once

#include <chrono>
#include <cstdint>

#if defined(_WIN32)
#include "core/win32.h"
#if defined(_M_X64)
#include <intrin.h>
#endif
#else
#include <time.h>
#endif

namespace asdm {

// Nanoseconds of a clock that never goes back.
inline int64_t nowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Of a thread between two moments: nanoseconds in which it could have run but another had its core, sleep of its own included. 0 where the
// system does not tell finely enough.
class CoreTime {
 public:
  // Starts at the calling thread's now.
  void start(int64_t now) {
    wall_ = now;
    core_ = coreNow();
#if defined(_WIN32) && defined(_M_X64)
    cycles_ = __rdtsc();
#endif
  }
  // On the same thread.
  int64_t withoutCore(int64_t now) const {
#if defined(_WIN32) && defined(_M_X64)
    // Both count cycles of one clock.
    const uint64_t all = __rdtsc() - cycles_, own = coreNow() - core_;
    return all == 0 || own >= all
               ? 0
               : static_cast<int64_t>(static_cast<double>(now - wall_) * (1.0 - static_cast<double>(own) / static_cast<double>(all)));
#elif defined(_WIN32)
    (void)now;
    return 0;
#else
    return (now - wall_) - (coreNow() - core_);
#endif
  }

 private:
#if defined(_WIN32)
  static uint64_t coreNow() {
    ULONG64 cycles = 0;
    return QueryThreadCycleTime(GetCurrentThread(), &cycles) ? cycles : 0;
  }
  uint64_t core_ = 0;
#else
  static int64_t coreNow() {
    timespec time{};
    return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0 ? static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec : 0;
  }
  int64_t core_ = 0;
#endif
  int64_t wall_ = 0;
#if defined(_WIN32) && defined(_M_X64)
  uint64_t cycles_ = 0;
#endif
};

}  // namespace asdm

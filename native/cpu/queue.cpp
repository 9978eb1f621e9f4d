#include "cpu/queue.h"

#include <cstring>

namespace asdm::cpu {

void CpuQueue::upload(void* to, const void* host, uint64_t bytes) noexcept { std::memcpy(to, host, bytes); }
void CpuQueue::download(void* host, const void* from, uint64_t bytes) noexcept { std::memcpy(host, from, bytes); }
void CpuQueue::fill(void* to, uint8_t value, uint64_t bytes) noexcept { std::memset(to, value, bytes); }

void CpuQueue::setCancel(const std::atomic<bool>* cancel) noexcept {
  pass_.reset();
  if (cancel != nullptr) pass_.emplace(pool_, *cancel);
}

Fault CpuQueue::finish() noexcept { return pool_.cancelled() ? Fault(Code::Aborted, "The operation was aborted") : Fault(); }

void CpuQueue::startTiming(double* seconds) noexcept {
  seconds_ = seconds;
  begin_ = Clock::now();
}

void CpuQueue::mark() noexcept {
  if (seconds_ == nullptr) return;
  const Clock::time_point now = Clock::now();
  *seconds_++ = std::chrono::duration<double>(now - begin_).count();
  begin_ = now;
}

}  // namespace asdm::cpu

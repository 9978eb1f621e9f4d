// The CPU's queue: work is done when a call returns, by a pool of threads.
#pragma once

#include <chrono>
#include <optional>

#include "backend/device.h"
#include "cpu/context.h"

namespace asdm::cpu {

class CpuQueue final : public Queue {
 public:
  explicit CpuQueue(ThreadPool& pool) : pool_(pool) {}

  int threads() const noexcept override { return pool_.threads(); }
  void upload(void* to, const void* host, uint64_t bytes) noexcept override;
  void download(void* host, const void* from, uint64_t bytes) noexcept override;
  void fill(void* to, uint8_t value, uint64_t bytes) noexcept override;
  // What is issued under one cancel flag is one pass of the pool.
  void setCancel(const std::atomic<bool>* cancel) noexcept override;
  Fault finish() noexcept override;
  void startTiming(double* seconds) noexcept override;
  void mark() noexcept override;

  KernelContext context() const { return {pool_, scratch()}; }

 private:
  using Clock = std::chrono::steady_clock;
  ThreadPool& pool_;
  std::optional<ThreadPool::Pass> pass_;
  double* seconds_ = nullptr;
  Clock::time_point begin_;
};

}  // namespace asdm::cpu

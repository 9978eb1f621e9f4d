// The threads that compute. One pool per model; one caller at a time (the model's queue sees to that). The caller works too, as
// worker 0. Tasks are handed out one by one in order, so which thread runs which task varies: kernels must give the same bits
// whatever that mapping is (each output element belongs to one task, sums have a fixed order).
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace asdm {

class ThreadPool {
 public:
  // threads: how many compute, the caller included; at least 1. Throws std::system_error when the OS gives no thread.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // While set, a true value makes run() hand out no further tasks. Checked before each task, so a task should last at most
  // some 20 ms on one core. May be null.
  void setCancel(const std::atomic<bool>* cancel) { cancel_ = cancel; }
  bool cancelled() const { return cancel_ != nullptr && cancel_->load(std::memory_order_relaxed); }

  // Calls body(task, worker) once for each task in [0, tasks), worker in [0, threads()), and returns when all are done (or, after
  // a cancel, when those begun are done; outputs are then unspecified). The body must not throw and must not call run().
  template <class Body>
  void run(int64_t tasks, const Body& body) {
    runErased(tasks, [](const void* context, int64_t task, int worker) { (*static_cast<const Body*>(context))(task, worker); },
              &body);
  }

 private:
  using Call = void (*)(const void* context, int64_t task, int worker);
  void runErased(int64_t tasks, Call call, const void* context);
  void drain(int worker);
  void workerLoop(int worker);

  const int threads_;
  const std::atomic<bool>* cancel_ = nullptr;
  Call call_ = nullptr;
  const void* context_ = nullptr;
  int64_t tasks_ = 0;
  std::atomic<int64_t> next_{0};
  std::atomic<int> busy_{0};
  std::atomic<uint64_t> generation_{0};
  bool stopping_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::vector<std::thread> workers_;
};

}  // namespace asdm

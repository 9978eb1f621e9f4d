// What a model computes with: its own thread, and help from the threads that it shares with others (core/worker_threads.h). Which thread
// runs which task varies (core/open_tasks.h says what is preferred): kernels must give the same bits whatever that mapping is (each output
// element belongs to one task, sums have a fixed order).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "core/clock.h"
#include "core/worker_threads.h"

namespace asdm {

class ThreadPool {
 public:
  explicit ThreadPool(std::shared_ptr<WorkerThreads> workers) : workers_(std::move(workers)) {}
  // With threads of its own. Throws std::system_error when the OS gives no thread.
  explicit ThreadPool(int threads) : ThreadPool(std::make_shared<WorkerThreads>(threads)) {}
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Most threads that compute, the caller included. How many do at a time may be fewer.
  int threads() const { return workers_->threads(); }

  // A pass: from the first run() to the last of what belongs together. One thread at a time, and passes do not nest. A true value of
  // `cancel` makes run() hand out no further tasks; it is checked before each, so a task should last at most some 20 ms on one core.
  class Pass {
   public:
    Pass(ThreadPool& pool, const std::atomic<bool>& cancel) : pool_(pool) { pool.begin(&cancel); }
    ~Pass() { pool_.end(); }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;

   private:
    ThreadPool& pool_;
  };

  bool cancelled() const { return cancel_ != nullptr && cancel_->load(std::memory_order_relaxed); }

  // Calls body(task, worker) once for each task in [0, tasks), worker in [0, threads()), and returns when all are done (or, after
  // a cancel, when those begun are done; outputs are then unspecified). The body must not throw and must not call run(). Outside a
  // pass it is one of its own.
  template <class Body>
  void run(int64_t tasks, const Body& body) {
    runErased(tasks, false, callOf<Body>, &body);
  }
  // All of them on the calling thread: for work that takes less time than the handing out, a microsecond or two.
  template <class Body>
  void runHere(int64_t tasks, const Body& body) {
    runAlone(tasks, false, callOf<Body>, &body);
  }
  // As run(), for what reads again what the operation before has read: each worker begins with the last tasks of its part.
  template <class Body>
  void runBackwards(int64_t tasks, const Body& body) {
    runErased(tasks, true, callOf<Body>, &body);
  }

 private:
  using Call = WorkerThreads::Call;
  void begin(const std::atomic<bool>* cancel);
  void end() noexcept;
  template <class Body>
  static void callOf(const void* context, int64_t task, int worker) {
    (*static_cast<const Body*>(context))(task, worker);
  }
  void runErased(int64_t tasks, bool backwards, Call call, const void* context);
  void runAlone(int64_t tasks, bool backwards, Call call, const void* context);
  void runShared(int64_t tasks, bool backwards, Call call, const void* context, int helpers, int64_t now);
  void awaitHelpers(int64_t shares);
  void startWindow(int64_t now);
  void closeWindow(int64_t now);

  const std::shared_ptr<WorkerThreads> workers_;
  const std::atomic<bool>* cancel_ = nullptr;
  WorkerThreads::Lane* lane_ = nullptr;
  // The window: when it began, and since then waits for helpers that a balanced load does not explain, sleep in waits, and what helpers
  // had done in all before.
  CoreTime window_;
  int64_t windowNs_ = 0, waitedNs_ = 0, asleepNs_ = 0, helpedBeforeNs_ = 0;
  int asked_ = 0;  // most helpers at an operation of this window
};

}  // namespace asdm

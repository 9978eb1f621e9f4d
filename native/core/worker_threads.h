// The threads that help to compute, shared by all callers of one environment that ask for the same number of threads. A caller (the
// thread of one model, through its ThreadPool) always works on its own tasks and finishes them alone if need be: helpers only take some
// off it. So callers never wait for each other, and nothing can deadlock.
//
// How many helpers work follows from two things. Callers and helpers together are at most `threads`: two models at work on two
// threads have a core each. And threads are given up where another program wants the cores: a thread that loses its core in the middle of
// a task holds the whole operation back, often by more than it had helped. Callers count what they waited and what they were helped with, and
// while the first outweighs the second some helpers rest, for a multiple of the time lost, so that trying them again costs little.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "core/open_tasks.h"

namespace asdm {

class WorkerThreads {
 public:
  // threads: how many compute, a caller included; at least 1. Throws std::system_error when the OS gives no thread.
  explicit WorkerThreads(int threads);
  ~WorkerThreads();  // no caller may be left
  WorkerThreads(const WorkerThreads&) = delete;
  WorkerThreads& operator=(const WorkerThreads&) = delete;

  int threads() const { return threads_; }

 private:
  friend class ThreadPool;

  using Call = void (*)(const void* context, int64_t task, int worker);

  // The tasks of one caller. It writes the fields in the first group while no task is open and all are done, so whoever has taken some may
  // read them until those are done.
  struct alignas(64) Lane {
    explicit Lane(int workers) : open(workers) {}

    Call call = nullptr;
    const void* context = nullptr;
    const std::atomic<bool>* cancel = nullptr;
    bool taken = false;  // by a caller; under WorkerThreads::mutex_

    OpenTasks open;

    alignas(64) std::atomic<int64_t> done{0};  // shares of this run that helpers have done
    std::atomic<int64_t> helpedNs{0};  // time they took, over all runs
    std::atomic<bool> waiting{false};  // the caller sleeps until they are done
    std::mutex mutex;
    std::condition_variable finished;
  };

  // Callers at work at the same time that can be helped; any more compute alone.
  static constexpr int kLanes = 64;

  // For callers: from the beginning of a pass to its end. Null where no lane is free.
  Lane* enter();
  void leave(Lane* lane) noexcept;
  // Helpers that may work now.
  int helpers() const;
  // Wakes sleeping ones up to that number.
  void wake(int wanted);
  // Has a helper work again whose rest is over.
  void endRest(int64_t now);
  // A stretch of a caller's time.
  struct Window {
    int helpers = 0;  // that were asked
    int64_t helpedNs = 0;  // spent by them on the caller's tasks
    int64_t waitedNs = 0;  // that the caller waited for them longer than a balanced load explains
    int64_t withoutCoreNs = 0;  // that the caller could have run but had no core
  };
  void report(int64_t now, const Window& window);

  // A share's tasks, until they are cancelled.
  static void runShare(const OpenTasks::Share& share, Call call, const void* context, const std::atomic<bool>* cancel, int worker);

  void loop(int worker) noexcept;
  bool help(int worker, int* first);
  bool sleep();
  bool anyTasks() const;

  const int threads_;
  std::deque<Lane> lanes_;  // kLanes of them
  std::atomic<int> lanesUsed_{0};  // the first so many have ever been taken
  std::atomic<int> callers_{0};
  std::atomic<int> awake_{0};  // helpers that do not sleep
  std::atomic<int> resting_{0};  // helpers that are not to work, for the machine's sake
  std::atomic<int64_t> restUntil_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  uint64_t wakes_ = 0;  // under mutex_
  int64_t credit_ = 0;  // nanoseconds that helpers have brought; under mutex_
  int64_t restFactor_ = 0;  // under mutex_
  std::vector<std::thread> workers_;
};

}  // namespace asdm

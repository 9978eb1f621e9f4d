#include "core/thread_pool.h"

#include <algorithm>

#include "core/relax.h"

namespace asdm {

namespace {

// A caller that waits longer than this for helpers sleeps, which lets one of them have its core.
constexpr int64_t kWaitNs = 40'000;
constexpr int kTurnsPerLook = 32;
// How often a pass looks whether helpers are worth it.
constexpr int64_t kWindowNs = 2'000'000;
// Waits up to a quarter of the caller's own work, and this, are what tasks of uneven length and the hand-over cost; any more is a helper
// that lost its core.
constexpr int64_t kFairWaitNs = 20'000;

}  // namespace

void ThreadPool::begin(const std::atomic<bool>* cancel) {
  cancel_ = cancel;
  lane_ = workers_->enter();
  if (lane_ == nullptr) return;
  const int64_t now = nowNs();
  workers_->endRest(now);
  workers_->wake(workers_->helpers());
  startWindow(now);
}

void ThreadPool::end() noexcept {
  if (lane_ != nullptr && asked_ > 0) closeWindow(nowNs());
  workers_->leave(lane_);
  lane_ = nullptr;
  cancel_ = nullptr;
}

void ThreadPool::startWindow(int64_t now) {
  window_.start(now);
  windowNs_ = now;
  waitedNs_ = asleepNs_ = 0;
  asked_ = 0;
  helpedBeforeNs_ = lane_->helpedNs.load(std::memory_order_relaxed);
}

void ThreadPool::closeWindow(int64_t now) {
  WorkerThreads::Window window;
  window.helpers = asked_;
  window.helpedNs = lane_->helpedNs.load(std::memory_order_relaxed) - helpedBeforeNs_;
  window.waitedNs = waitedNs_;
  window.withoutCoreNs = std::max<int64_t>(0, window_.withoutCore(now) - asleepNs_);
  workers_->report(now, window);
}

void ThreadPool::runAlone(int64_t tasks, Call call, const void* context) {
  for (int64_t task = 0; task < tasks && !cancelled(); task++) call(context, task, 0);
}

void ThreadPool::runErased(int64_t tasks, Call call, const void* context) {
  if (tasks <= 0) return;
  if (tasks == 1 || threads() == 1) return runAlone(tasks, call, context);
  const bool own = lane_ == nullptr;
  if (own) begin(cancel_);
  if (lane_ == nullptr) {
    runAlone(tasks, call, context);
  } else {
    const int64_t now = nowNs();
    if (now - windowNs_ > kWindowNs) {
      if (asked_ > 0) closeWindow(now);
      startWindow(now);
    }
    workers_->endRest(now);
    const int helpers = workers_->helpers();
    if (helpers == 0) runAlone(tasks, call, context);
    else runShared(tasks, call, context, helpers, now);
  }
  if (own) end();
}

void ThreadPool::runShared(int64_t tasks, Call call, const void* context, int helpers, int64_t begun) {
  WorkerThreads::Lane& lane = *lane_;
  asked_ = std::max(asked_, helpers);
  lane.call = call;
  lane.context = context;
  lane.tasks = tasks;
  lane.cancel = cancel_;
  lane.done.store(0, std::memory_order_relaxed);
  lane.left.store(tasks);
  if (workers_->awake_.load() < helpers) workers_->wake(helpers);

  int64_t own = 0;
  for (;;) {
    if (cancelled()) {
      own += std::max<int64_t>(0, lane.left.exchange(0, std::memory_order_acquire));
      break;
    }
    const int64_t left = lane.left.fetch_sub(1, std::memory_order_acquire);
    if (left <= 0) break;
    call(context, tasks - left, 0);
    own++;
  }
  if (own == tasks) return;
  const int64_t worked = nowNs();
  awaitHelpers(tasks - own);
  const int64_t waited = nowNs() - worked;
  if (waited > (worked - begun) / 4 + kFairWaitNs) waitedNs_ += waited;
}

void ThreadPool::awaitHelpers(int64_t tasks) {
  WorkerThreads::Lane& lane = *lane_;
  const auto done = [&] { return lane.done.load() == tasks; };
  for (const int64_t begin = nowNs();;) {
    for (int i = 0; i < kTurnsPerLook; i++) {
      if (done()) return;
      relax();
    }
    if (nowNs() - begin > kWaitNs) break;
  }
  const int64_t begin = nowNs();
  {
    std::unique_lock<std::mutex> lock(lane.mutex);
    lane.waiting.store(true);
    lane.finished.wait(lock, done);
    lane.waiting.store(false, std::memory_order_relaxed);
  }
  asleepNs_ += nowNs() - begin;
}

}  // namespace asdm

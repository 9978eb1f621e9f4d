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

void ThreadPool::runAlone(int64_t tasks, bool backwards, Call call, const void* context) {
  WorkerThreads::runShare({0, tasks, backwards}, call, context, cancel_, 0);
}

void ThreadPool::runErased(int64_t tasks, bool backwards, Call call, const void* context) {
  if (tasks <= 0) return;
  if (tasks == 1 || threads() == 1) return runAlone(tasks, backwards, call, context);
  const bool own = lane_ == nullptr;
  if (own) begin(cancel_);
  if (lane_ == nullptr) {
    runAlone(tasks, backwards, call, context);
  } else {
    const int64_t now = nowNs();
    if (now - windowNs_ > kWindowNs) {
      if (asked_ > 0) closeWindow(now);
      startWindow(now);
    }
    workers_->endRest(now);
    const int helpers = workers_->helpers();
    if (helpers == 0) runAlone(tasks, backwards, call, context);
    else runShared(tasks, backwards, call, context, helpers, now);
  }
  if (own) end();
}

void ThreadPool::runShared(int64_t tasks, bool backwards, Call call, const void* context, int helpers, int64_t begun) {
  WorkerThreads::Lane& lane = *lane_;
  asked_ = std::max(asked_, helpers);
  lane.call = call;
  lane.context = context;
  lane.cancel = cancel_;
  lane.done.store(0, std::memory_order_relaxed);
  const int64_t shares = lane.open.open(tasks, backwards);
  if (workers_->awake_.load() < helpers) workers_->wake(helpers);

  int64_t own = 0;
  OpenTasks::Share share;
  while (!cancelled() && lane.open.take(0, &share)) {
    WorkerThreads::runShare(share, call, context, cancel_, 0);
    own++;
  }
  if (cancelled()) own += lane.open.close();
  if (own == shares) return;
  const int64_t worked = nowNs();
  awaitHelpers(shares - own);
  const int64_t waited = nowNs() - worked;
  if (waited > (worked - begun) / 4 + kFairWaitNs) waitedNs_ += waited;
}

void ThreadPool::awaitHelpers(int64_t shares) {
  WorkerThreads::Lane& lane = *lane_;
  const auto done = [&] { return lane.done.load() == shares; };
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

#include "core/worker_threads.h"

#include <algorithm>

#include "core/clock.h"
#include "core/relax.h"

namespace asdm {

namespace {

// How long a helper watches for tasks before it sleeps: operations follow each other within microseconds during a pass, and a
// sleeping thread takes some 50 us to wake.
constexpr int64_t kWatchNs = 100'000;
constexpr int kTurnsPerLook = 64;  // turns of watching between looks at the clock

// Of what helpers bring, so much is kept to be lost again: an idle system takes a core for a moment, too.
constexpr int64_t kMostCredit = 10'000'000;
// Where more than that is lost helpers rest, for so many times as long: twice as many each time, until the credit is full again.
constexpr int64_t kLeastRest = 8, kMostRest = 32;
constexpr int64_t kLongestRestNs = 1'000'000'000;
// Between one helper's return and the next.
constexpr int64_t kReturnNs = 25'000'000;

}  // namespace

WorkerThreads::WorkerThreads(int threads) : threads_(threads < 1 ? 1 : threads) {
  for (int i = 0; i < kLanes; i++) lanes_.emplace_back(threads_);
  workers_.reserve(static_cast<size_t>(threads_ - 1));
  awake_.store(threads_ - 1, std::memory_order_relaxed);
  try {
    for (int i = 1; i < threads_; i++) workers_.emplace_back([this, i] { loop(i); });
  } catch (...) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_.store(true);
    }
    wake_.notify_all();
    for (std::thread& t : workers_) t.join();
    throw;
  }
}

WorkerThreads::~WorkerThreads() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_.store(true);
  }
  wake_.notify_all();
  for (std::thread& t : workers_) t.join();
}

WorkerThreads::Lane* WorkerThreads::enter() {
  if (threads_ == 1) return nullptr;
  Lane* lane = nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (int i = 0; i < kLanes && lane == nullptr; i++)
      if (!lanes_[static_cast<size_t>(i)].taken) {
        lane = &lanes_[static_cast<size_t>(i)];
        lanesUsed_.store(std::max(lanesUsed_.load(std::memory_order_relaxed), i + 1), std::memory_order_release);
      }
    if (lane != nullptr) lane->taken = true;
  }
  callers_.fetch_add(1);
  return lane;
}

void WorkerThreads::leave(Lane* lane) noexcept {
  if (threads_ == 1) return;
  callers_.fetch_sub(1);
  if (lane == nullptr) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  lane->taken = false;
}

int WorkerThreads::helpers() const {
  return std::max(0, threads_ - resting_.load(std::memory_order_relaxed) - std::max(1, callers_.load(std::memory_order_relaxed)));
}

void WorkerThreads::wake(int wanted) {
  int missing;
  {
    // Whoever holds it may have lost its core; the next operation asks again.
    const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return;
    missing = wanted - awake_.load(std::memory_order_relaxed);
    if (missing <= 0) return;
    wakes_++;
  }
  if (missing >= threads_ - 1) wake_.notify_all();
  else
    for (int i = 0; i < missing; i++) wake_.notify_one();
}

void WorkerThreads::endRest(int64_t now) {
  if (resting_.load(std::memory_order_relaxed) == 0 || now < restUntil_.load(std::memory_order_relaxed)) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  const int resting = resting_.load(std::memory_order_relaxed);
  if (resting == 0 || now < restUntil_.load(std::memory_order_relaxed)) return;
  resting_.store(resting - 1, std::memory_order_relaxed);
  restUntil_.store(now + kReturnNs, std::memory_order_relaxed);
}

void WorkerThreads::report(int64_t now, const Window& window) {
  const std::lock_guard<std::mutex> lock(mutex_);
  // What one helper more or less makes. While the caller waited the helper had no core, which is not help either.
  credit_ += window.helpedNs / std::max(1, window.helpers) - 2 * window.waitedNs - window.withoutCoreNs;
  if (credit_ >= kMostCredit) {
    credit_ = kMostCredit;
    restFactor_ = 0;
  }
  if (credit_ >= 0) return;
  restFactor_ = std::min(kMostRest, std::max(kLeastRest, 2 * restFactor_));
  const int resting = resting_.load(std::memory_order_relaxed), working = threads_ - 1 - resting;
  resting_.store(resting + std::min(working, std::max(1, working / 4)), std::memory_order_relaxed);
  restUntil_.store(now + std::min(kLongestRestNs, -credit_ * restFactor_), std::memory_order_relaxed);
  credit_ = 0;
}

void WorkerThreads::runShare(const OpenTasks::Share& share, Call call, const void* context, const std::atomic<bool>* cancel, int worker) {
  for (int64_t i = share.first; i < share.end; i++) {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) return;
    call(context, share.backwards ? share.first + share.end - 1 - i : i, worker);
  }
}

bool WorkerThreads::anyTasks() const {
  for (int i = 0; i < lanesUsed_.load(std::memory_order_acquire); i++)
    if (lanes_[static_cast<size_t>(i)].open.any()) return true;
  return false;
}

// One round over the callers, beginning with the one after that which was helped last. Whether there was anything to do.
bool WorkerThreads::help(int worker, int* first) {
  const int used = lanesUsed_.load(std::memory_order_acquire);
  for (int i = 0; i < used; i++) {
    const int at = (*first + i) % used;
    Lane& lane = lanes_[static_cast<size_t>(at)];
    OpenTasks::Share share;
    if (!lane.open.take(worker, &share)) continue;
    const int64_t begin = nowNs();
    int64_t done = 0;
    do {
      // These tasks are ours, so the run stays until they are done; after that nothing of it may be touched.
      runShare(share, lane.call, lane.context, lane.cancel, worker);
      done++;
    } while (lane.open.take(worker, &share));
    lane.helpedNs.fetch_add(nowNs() - begin, std::memory_order_relaxed);
    lane.done.fetch_add(done);
    if (lane.waiting.load()) {
      const std::lock_guard<std::mutex> lock(lane.mutex);
      lane.finished.notify_one();
    }
    *first = (at + 1) % used;
    return true;
  }
  return false;
}

// Until there may be something to do; false at the end.
bool WorkerThreads::sleep() {
  std::unique_lock<std::mutex> lock(mutex_);
  awake_.fetch_sub(1);
  const uint64_t seen = wakes_;
  for (;;) {
    if (stopping_.load(std::memory_order_relaxed)) return false;
    // A caller publishes tasks, then looks how many are awake; here it is the other way round, so one of them sees the other.
    if (awake_.load() < helpers() && (wakes_ != seen || anyTasks())) break;
    wake_.wait(lock);
  }
  awake_.fetch_add(1);
  return true;
}

void WorkerThreads::loop(int worker) noexcept {
  int first = 0;
  for (;;) {
    int64_t since = nowNs();
    while (!stopping_.load(std::memory_order_relaxed) && awake_.load(std::memory_order_relaxed) <= helpers()) {
      bool worked = false;
      for (int i = 0; i < kTurnsPerLook && !worked; i++) {
        worked = help(worker, &first);
        if (!worked) relax();
      }
      const int64_t now = nowNs();
      if (worked) since = now;
      else if (now - since > kWatchNs) break;
    }
    if (!sleep()) return;
  }
}

}  // namespace asdm

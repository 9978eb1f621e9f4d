// One thread per model, with a first-in-first-out queue: the only thread that runs load, forward and trim, and the one that frees
// the model. Knows no JavaScript; what happens is reported through post(), from any thread, and delivered by environment.cpp.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "core/status.h"
#include "runtime/model.h"

struct napi_ref__;

namespace asdm::napi {

class Worker;
struct Call;

// What a thread tells the JavaScript thread. Done and Finished are made before the work, so that reporting needs no memory.
struct Message {
  enum class Kind { Progress, Done, Finished } kind;
  std::shared_ptr<Call> call = nullptr;      // Progress, Done
  std::shared_ptr<Worker> worker = nullptr;  // Finished: the thread is about to end and may be joined
  uint64_t bytesDone = 0, bytesTotal = 0;    // Progress
};

// Takes the message over. Callable from any thread.
class Outlet {
 public:
  virtual void post(std::unique_ptr<Message> message) noexcept = 0;

 protected:
  ~Outlet() = default;
};

// A load or forward under way, or a trim.
struct Call {
  uint64_t id = 0;
  std::atomic<bool> cancelled{false};
  std::function<Status(Model&, const std::shared_ptr<Call>& self)> work;  // on the worker thread
  Status status;
  std::weak_ptr<const WeightStore> weights;  // that a Load has left in the model
  std::unique_ptr<Message> done;  // null for calls that nobody waits for

  enum class Kind { Load, Forward, Probe } kind = Kind::Forward;  // which of those below it gives; fixed once it is queued
  // Of the JavaScript thread alone, once the work is done.
  LoadResult loaded;
  ForwardOutputs outputs;
  std::vector<double> changes;
  napi_ref__* settle = nullptr;
  napi_ref__* progress = nullptr;
  std::shared_ptr<Worker> worker;
};

class Worker : public std::enable_shared_from_this<Worker> {
 public:
  Worker(std::unique_ptr<Model> model, Outlet& outlet) : model_(std::move(model)), outlet_(outlet) {}
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The methods below are for the JavaScript thread.

  // Starts the thread at the first call; true when this call started it. Throws Failure when there is no thread to be had.
  bool enqueue(std::shared_ptr<Call> call);
  // For a call whose `cancelled` is set: settles it at once if it is queued. A running one stops within tens of milliseconds.
  void cancel(uint64_t id) noexcept;
  // Frees the model once the queue is empty: for a wrapper that was collected while promises are open.
  void release() noexcept;
  // Cancels everything and frees the model once the running call has stopped.
  void dispose() noexcept;
  // After release or dispose: waits for the thread's end.
  void join() noexcept;
  bool started() const { return thread_.joinable(); }
  // Not to be used after release or dispose.
  Model& model() const { return *model_; }

  // Bytes that V8 was told about.
  int64_t externalBytes = 0;

 private:
  void loop() noexcept;
  void run(const std::shared_ptr<Call>& call) noexcept;
  void settle(std::shared_ptr<Call> call) noexcept;

  std::unique_ptr<Model> model_;
  Outlet& outlet_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Call>> queue_;  // under mutex_
  std::shared_ptr<Call> running_;            // under mutex_
  bool ending_ = false;                      // under mutex_
  std::unique_ptr<Message> finished_;
};

// Called by work that has progress to tell; on the worker thread.
void postProgress(Outlet& outlet, const std::shared_ptr<Call>& call, uint64_t done, uint64_t total) noexcept;

}  // namespace asdm::napi

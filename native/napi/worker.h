// One thread per model or training, with a first-in-first-out queue: the only thread that runs load, forward and trim, and the one that frees
// it. Knows no JavaScript; what happens is reported through post(), from any thread, and delivered by environment.cpp.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/status.h"
#include "runtime/model.h"
#include "runtime/training.h"

struct napi_ref__;
struct napi_value__;

namespace asdm::napi {

class Environment;
class Worker;
struct Call;

// What a thread tells the JavaScript thread. Done and Finished are made before the work, so that reporting needs no memory.
struct Message {
  enum class Kind { Progress, Arrays, Done, Finished } kind;
  std::shared_ptr<Call> call = nullptr;  // Progress, Arrays: its outputs need arrays to be copied to; Done
  std::shared_ptr<Worker> worker = nullptr;  // Finished: the thread is about to end and may be joined
  uint64_t bytesDone = 0, bytesTotal = 0;  // Progress
};

// Takes the message over. Callable from any thread.
class Outlet {
 public:
  virtual void post(std::unique_ptr<Message> message) noexcept = 0;

 protected:
  ~Outlet() = default;
};

// Most that is copied at once between JavaScript's memory and ours on the JavaScript thread. Inputs beyond it are copied piece by piece between
// other events (Environment::feed); outputs on the model's thread, to arrays that no script has seen yet. Copying to memory that is touched
// for the first time may take ten or a hundred times as long as copying alone.
constexpr size_t kInputBytes = size_t{4} << 20, kOutputBytes = size_t{1} << 20;

// An array of the caller's that is copied piece by piece.
struct LargeInput {
  napi_value__* array = nullptr;  // until the call is queued
  std::string name;
  std::byte* to = nullptr;
  size_t bytes = 0;
  napi_ref__* reference = nullptr;
  size_t done = 0;
};

// A tensor that is copied to an array by the model's thread.
struct LargeOutput {
  HostTensor* from = nullptr;
  napi_ref__* array = nullptr;
  float* to = nullptr;
};

// Something that a model's thread is asked to do.
struct Call {
  uint64_t id = 0;
  std::atomic<bool> cancelled{false};
  // On the worker thread: the one for what the worker has.
  std::function<Status(Model&, const std::shared_ptr<Call>& self)> work;
  std::function<Status(Training&, const std::shared_ptr<Call>& self)> train;
  Status status;
  std::weak_ptr<const WeightStore> weights;  // that a Load has left in the model
  std::unique_ptr<Message> done;  // null for calls that nobody waits for

  // Of the JavaScript thread. The work begins when they are copied.
  std::vector<LargeInput> largeInputs;
  bool fed = true;  // under the worker's mutex
  // What the work has left: of the worker's thread until it asks for arrays, then of the JavaScript thread until these are there.
  std::vector<LargeOutput> largeOutputs;
  bool received = false;  // under the worker's mutex

  bool loads = false;  // weights, of which V8 is told; fixed once it is queued
  LoadResult loaded;
  // Of the JavaScript thread alone, once the work is done.
  std::function<napi_value__*(Environment&, const Call&)> result;  // what it gives when it succeeded; may throw Failure. None: undefined
  int64_t heldBytes = -1;  // that V8 is to be told of; negative: as before
  napi_ref__* settle = nullptr;
  napi_ref__* progress = nullptr;
  std::shared_ptr<Worker> worker;
};

class Worker : public std::enable_shared_from_this<Worker> {
 public:
  Worker(std::unique_ptr<Model> model, Outlet& outlet) : model_(std::move(model)), outlet_(outlet) {}
  Worker(std::unique_ptr<Training> training, Outlet& outlet) : training_(std::move(training)), outlet_(outlet) {}
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The methods below are for the JavaScript thread.

  // Starts the thread at the first call; true when this call started it. Throws Failure when there is no thread to be had.
  bool enqueue(std::shared_ptr<Call> call);
  // For a call whose `cancelled` is set: settles it at once if it is queued. A running one stops within tens of milliseconds.
  void cancel(uint64_t id) noexcept;
  // The large inputs of a call are there, or its status says why not.
  void fed(Call& call) noexcept;
  // The arrays for a call's large outputs are there, or its status says why not.
  void received(Call& call) noexcept;
  // Frees the model once the queue is empty: for a wrapper that was collected while promises are open.
  void release() noexcept;
  // Cancels everything and frees the model once the running call has stopped.
  void dispose() noexcept;
  // After release or dispose: waits for the thread's end.
  void join() noexcept;
  bool started() const { return thread_.joinable(); }
  // Not to be used after release or dispose.
  Model& model() const { return *model_; }
  Training& training() const { return *training_; }

  // Bytes that V8 was told about.
  int64_t externalBytes = 0;

 private:
  void loop() noexcept;
  void run(const std::shared_ptr<Call>& call) noexcept;
  void copyOutputs(const std::shared_ptr<Call>& call);
  void settle(std::shared_ptr<Call> call) noexcept;

  void free() noexcept;

  std::unique_ptr<Model> model_;  // one or the other
  std::unique_ptr<Training> training_;
  Outlet& outlet_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Call>> queue_;  // under mutex_
  std::shared_ptr<Call> running_;  // under mutex_
  bool ending_ = false;  // under mutex_
  std::unique_ptr<Message> finished_;
};

// Called by work that has progress to tell; on the worker thread.
void postProgress(Outlet& outlet, const std::shared_ptr<Call>& call, uint64_t done, uint64_t total) noexcept;

}  // namespace asdm::napi

// What one JavaScript environment (a main or worker thread of Node, a window of Electron) owns: the way from threads back to it and
// the threads it started. Kept as instance data; nothing here is global.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/worker_threads.h"
#include "napi/js.h"
#include "napi/worker.h"
#include "runtime/devices.h"

namespace asdm::napi {

class Environment final : public Outlet {
 public:
  // Makes the instance data of an environment. Throws Failure or Unwind.
  static Environment& install(napi_env env);
  static Environment& of(napi_env env);

  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  void post(std::unique_ptr<Message> message) noexcept override;

  // Sends a call to a model's thread and keeps the event loop alive until it is settled. Numbers the call.
  void enqueue(const std::shared_ptr<Worker>& worker, std::shared_ptr<Call> call);

  // Copies a piece of the large inputs of calls that were started; is there more? To be called again after other events then.
  bool feed();

  // The call will be told to have been aborted, unless it has been settled; also where it is done but not delivered yet.
  void cancel(uint64_t id) noexcept;

  // The threads that models of this environment compute with, which those that want as many share while there are any. Throws
  // std::system_error when the OS gives none.
  std::shared_ptr<WorkerThreads> workerThreads(int threads);

  // Stops and joins every thread; calls after it throw DISPOSED.
  void shutDown() noexcept;

  void dropReferences(Call& call) noexcept;

  // A Float32Array of so many zeros. Throws Failure(OutOfMemory).
  napi_value newArray(size_t count);

  napi_env env() const { return env_; }
  Devices devices;
  napi_ref modelClass = nullptr, trainerClass = nullptr;
  // What the constructor of either class wraps next; model.cpp's and training.cpp's own.
  void* newborn = nullptr;
  void* takeNewborn() { return std::exchange(newborn, nullptr); }
  // Arrays are made by the JavaScript constructor, which throws when memory is out; the native way to make one ends the process.
  napi_ref float32Array = nullptr;

 private:
  explicit Environment(napi_env env) : env_(env) {}
  static void deliver(napi_env env, napi_value, void* context, void* data);
  void settle(Call& call);
  void makeArrays(Call& call);
  // Queues that the model lets go of the weights of a load that was cancelled when it had ended: as after every aborted load it has none
  // then, unless a later one has brought others.
  void unload(const Call& call) noexcept;
  void tellProgress(const Message& message);
  void tellMemory(Worker& worker, int64_t bytes);
  void finish(const std::shared_ptr<Worker>& worker);
  void dropReferences() noexcept;

  napi_env env_;
  napi_threadsafe_function channel_ = nullptr;
  std::vector<std::shared_ptr<Worker>> workers_;  // those with a thread
  uint64_t nextId_ = 1;
  std::unordered_map<uint64_t, std::shared_ptr<Call>> open_;  // calls to be settled; they keep the event loop alive
  std::deque<std::shared_ptr<Call>> feeding_;  // calls whose large inputs are to be copied, in order
  std::map<int, std::weak_ptr<WorkerThreads>> workerThreads_;  // by their number
  bool ended_ = false;
};

// Queues a call that JavaScript waits for, and gives its number; its references are taken last, when nothing else can fail but the queueing itself.
napi_value enqueue(napi_env env, const std::shared_ptr<Worker>& worker, const std::shared_ptr<Call>& call, napi_value settle,
                   napi_value progress);

}  // namespace asdm::napi

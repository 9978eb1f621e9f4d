#include "napi/environment.h"

#include <algorithm>
#include <cstring>

#include "core/clock.h"
#include "napi/results.h"

namespace asdm::napi {

namespace {

// Large inputs are copied for so long at a time, and so many bytes between looks at the clock.
constexpr int64_t kFeedNs = 4'000'000;
constexpr size_t kFeedBytes = size_t{64} << 10;

napi_value onExit(napi_env env, napi_callback_info) {
  Environment::of(env).shutDown();
  return undefined(env);
}

}  // namespace

Environment& Environment::install(napi_env env) {
  auto* state = new Environment(env);
  const napi_status status =
      napi_set_instance_data(env, state, [](napi_env, void* data, void*) { delete static_cast<Environment*>(data); }, nullptr);
  if (status != napi_ok) delete state;
  check(env, status);

  napi_value global, constructor;
  check(env, napi_get_global(env, &global));
  check(env, napi_get_named_property(env, global, "Float32Array", &constructor));
  check(env, napi_create_reference(env, constructor, 1, &state->float32Array));

  check(env, napi_create_threadsafe_function(env, nullptr, nullptr, string(env, "asdm"), 0, 1, nullptr, nullptr, state, deliver,
                                             &state->channel_));
  check(env, napi_unref_threadsafe_function(env, state->channel_));
  // Hooks run last in, first out: this one before the channel's own, so that no thread is left to use a closed channel.
  check(env, napi_add_env_cleanup_hook(
                 env,
                 [](void* data) {
                   static_cast<Environment*>(data)->shutDown();
                   static_cast<Environment*>(data)->dropReferences();
                 },
                 state));
  // process.exit() on the main thread runs no hooks but destroys static objects, which threads may be using: so also on 'exit'.
  napi_value process, once, listener[2];
  napi_valuetype type;
  check(env, napi_get_named_property(env, global, "process", &process));
  check(env, napi_get_named_property(env, process, "once", &once));
  check(env, napi_typeof(env, once, &type));
  if (type != napi_function) return *state;
  listener[0] = string(env, "exit");
  check(env, napi_create_function(env, nullptr, 0, guarded<onExit>, nullptr, &listener[1]));
  check(env, napi_call_function(env, process, once, 2, listener, nullptr));
  return *state;
}

Environment& Environment::of(napi_env env) {
  void* data = nullptr;
  check(env, napi_get_instance_data(env, &data));
  if (data == nullptr) throw Failure{{Code::Internal, "Expected the addon's state but it is gone"}};
  return *static_cast<Environment*>(data);
}

void Environment::post(std::unique_ptr<Message> message) noexcept {
  if (napi_call_threadsafe_function(channel_, message.get(), napi_tsfn_nonblocking) == napi_ok) (void)message.release();
}

void Environment::enqueue(const std::shared_ptr<Worker>& worker, std::shared_ptr<Call> call) {
  if (ended_) throw Failure{{Code::Disposed, "Expected a running environment but it is shutting down"}};
  call->id = nextId_++;
  call->worker = worker;
  const uint64_t id = call->id;
  const bool awaited = call->done != nullptr;
  workers_.reserve(workers_.size() + 1);
  if (awaited) open_.emplace(id, call);
  const bool large = !call->fed;
  if (large) feeding_.push_back(call);
  try {
    if (worker->enqueue(std::move(call))) workers_.push_back(worker);
  } catch (...) {
    open_.erase(id);
    if (large) feeding_.pop_back();
    throw;
  }
  if (awaited && open_.size() == 1) check(env_, napi_ref_threadsafe_function(env_, channel_));
}

bool Environment::feed() {
  while (!feeding_.empty()) {
    const std::shared_ptr<Call> call = feeding_.front();
    const auto next =
        std::find_if(call->largeInputs.begin(), call->largeInputs.end(), [](const LargeInput& input) { return input.done < input.bytes; });
    const bool over = call->settle == nullptr || call->cancelled.load(std::memory_order_relaxed);
    if (over || next == call->largeInputs.end()) {
      feeding_.pop_front();
      if (!over) call->worker->fed(*call);
      continue;
    }
    napi_value array;
    napi_typedarray_type type;
    size_t length = 0;
    void* data = nullptr;
    check(env_, napi_get_reference_value(env_, next->reference, &array));
    check(env_, napi_get_typedarray_info(env_, array, &type, &length, &data, nullptr, nullptr));
    if (data == nullptr || length * 4 != next->bytes) {
      call->status = {Code::InvalidArgument,
                      "Expected " + next->name + " to stay as it is until the call has ended but it was detached or resized"};
      feeding_.pop_front();
      call->worker->fed(*call);
      continue;
    }
    const size_t end = std::min(next->done + kInputBytes, next->bytes);
    for (const int64_t begun = nowNs(); next->done < end && nowNs() - begun < kFeedNs;) {
      const size_t bytes = std::min(kFeedBytes, end - next->done);
      std::memcpy(next->to + next->done, static_cast<const std::byte*>(data) + next->done, bytes);
      next->done += bytes;
    }
    return true;
  }
  return false;
}

void Environment::cancel(uint64_t id) noexcept {
  const auto found = open_.find(id);
  if (found == open_.end()) return;
  const std::shared_ptr<Call> call = found->second;
  call->cancelled.store(true, std::memory_order_relaxed);
  call->worker->cancel(id);
}

std::shared_ptr<WorkerThreads> Environment::workerThreads(int threads) {
  std::weak_ptr<WorkerThreads>& known = workerThreads_[threads];
  std::shared_ptr<WorkerThreads> workers = known.lock();
  if (workers == nullptr) known = workers = std::make_shared<WorkerThreads>(threads);
  return workers;
}

void Environment::shutDown() noexcept {
  ended_ = true;
  for (const std::shared_ptr<Worker>& worker : workers_) worker->dispose();
  for (const std::shared_ptr<Worker>& worker : workers_) worker->join();
  workers_.clear();
}

void Environment::dropReferences(Call& call) noexcept {
  if (call.settle != nullptr) (void)napi_delete_reference(env_, call.settle);
  if (call.progress != nullptr) (void)napi_delete_reference(env_, call.progress);
  call.settle = call.progress = nullptr;
  for (LargeInput& input : call.largeInputs) {
    if (input.reference != nullptr) (void)napi_delete_reference(env_, input.reference);
    input.reference = nullptr;
  }
  for (LargeOutput& output : call.largeOutputs) {
    if (output.array != nullptr) (void)napi_delete_reference(env_, output.array);
    output.array = nullptr;
  }
}

void Environment::dropReferences() noexcept {
  for (auto& [id, call] : open_) dropReferences(*call);
  open_.clear();
  for (napi_ref* reference : {&modelClass, &trainerClass, &float32Array}) {
    if (*reference != nullptr) (void)napi_delete_reference(env_, *reference);
    *reference = nullptr;
  }
}

void Environment::deliver(napi_env env, napi_value, void* context, void* data) {
  const std::unique_ptr<Message> message(static_cast<Message*>(data));
  if (env == nullptr) return;  // the environment is gone; its references died with it
  Environment& state = *static_cast<Environment*>(context);
  try {
    switch (message->kind) {
      case Message::Kind::Progress: return state.tellProgress(*message);
      case Message::Kind::Arrays: return state.makeArrays(*message->call);
      case Message::Kind::Done: return state.settle(*message->call);
      case Message::Kind::Finished: return state.finish(message->worker);
    }
  } catch (...) {
    // Only an environment on its way out fails here: nobody is left to be told.
  }
}

void Environment::tellProgress(const Message& message) {
  const Call& call = *message.call;
  if (call.progress == nullptr || call.cancelled.load(std::memory_order_relaxed)) return;
  napi_value callback,
      arguments[2] = {number(env_, static_cast<double>(message.bytesDone)), number(env_, static_cast<double>(message.bytesTotal))};
  check(env_, napi_get_reference_value(env_, call.progress, &callback));
  if (napi_call_function(env_, undefined(env_), callback, 2, arguments, nullptr) == napi_ok) return;
  napi_value thrown;  // wrap.ts hands in a callback that never throws; whoever does without it learns nothing
  (void)napi_get_and_clear_last_exception(env_, &thrown);
}

void Environment::makeArrays(Call& call) {
  try {
    for (LargeOutput& output : call.largeOutputs) {
      if (call.cancelled.load(std::memory_order_relaxed)) break;
      const napi_value array = newArray(output.from->data.size());
      napi_typedarray_type type;
      size_t length = 0;
      void* data = nullptr;
      check(env_, napi_get_typedarray_info(env_, array, &type, &length, &data, nullptr, nullptr));
      check(env_, napi_create_reference(env_, array, 1, &output.array));
      output.to = static_cast<float*>(data);
    }
  } catch (...) {
    call.status = statusOfException();
  }
  if (!call.cancelled.load(std::memory_order_relaxed)) call.worker->received(call);
}

napi_value Environment::newArray(size_t count) {
  napi_value constructor, length = number(env_, static_cast<double>(count)), array;
  check(env_, napi_get_reference_value(env_, float32Array, &constructor));
  const napi_status status = napi_new_instance(env_, constructor, 1, &length, &array);
  if (status == napi_pending_exception) {
    napi_value thrown;
    if (napi_get_and_clear_last_exception(env_, &thrown) != napi_ok) throw Unwind{};
    throw Failure{{Code::OutOfMemory, "Expected memory for a Float32Array of " + std::to_string(count) + " values but there is none"}};
  }
  check(env_, status);
  napi_typedarray_type type;
  size_t made = 0;
  check(env_, napi_get_typedarray_info(env_, array, &type, &made, nullptr, nullptr, nullptr));
  if (type != napi_float32_array || made != count)
    throw Failure{{Code::Internal, "Expected the global Float32Array to make Float32Arrays but it was replaced"}};
  return array;
}

void Environment::unload(const Call& call) noexcept {
  try {
    const auto task = std::make_shared<Call>();
    task->work = [weights = call.weights](Model& model, const std::shared_ptr<Call>&) {
      model.unload(weights);
      return Status::good();
    };
    enqueue(call.worker, task);
  } catch (...) {
    // The model is disposed, and frees them itself. (Or there is no memory: then it keeps them.)
  }
}

void Environment::tellMemory(Worker& worker, int64_t bytes) {
  int64_t total;
  check(env_, napi_adjust_external_memory(env_, bytes - worker.externalBytes, &total));
  worker.externalBytes = bytes;
}

void Environment::settle(Call& call) {
  open_.erase(call.id);
  if (open_.empty()) check(env_, napi_unref_threadsafe_function(env_, channel_));
  const bool cancelled = call.cancelled.load(std::memory_order_relaxed);
  if (call.loads && call.status.ok() && call.worker->started() && !(cancelled && call.weights.expired())) {
    if (cancelled) unload(call);
    tellMemory(*call.worker, cancelled ? 0 : static_cast<int64_t>(call.loaded.weightBytes));
  }
  if (call.heldBytes >= 0) tellMemory(*call.worker, call.heldBytes);
  if (cancelled) call.status = {Code::Aborted, "The call was cancelled"};

  // settle(code, message) or settle(null, result)
  napi_value arguments[2] = {nullptr, nullptr};
  if (call.status.ok()) {
    try {
      arguments[0] = null(env_);
      arguments[1] = call.loads ? loadResult(env_, call.loaded) : call.result ? call.result(*this, call) : undefined(env_);
    } catch (const Failure& failure) {
      call.status = failure.status;
    }
  }
  if (!call.status.ok()) {
    arguments[0] = string(env_, codeName(call.status.code));
    arguments[1] = string(env_, sentence(call.status));
  }
  napi_value callback;
  check(env_, napi_get_reference_value(env_, call.settle, &callback));
  dropReferences(call);
  call.result = nullptr;
  if (napi_call_function(env_, undefined(env_), callback, 2, arguments, nullptr) == napi_ok) return;
  napi_value thrown;
  (void)napi_get_and_clear_last_exception(env_, &thrown);
}

void Environment::finish(const std::shared_ptr<Worker>& worker) {
  worker->join();
  workers_.erase(std::remove(workers_.begin(), workers_.end(), worker), workers_.end());
  if (worker->externalBytes != 0) tellMemory(*worker, 0);
}

napi_value enqueue(napi_env env, const std::shared_ptr<Worker>& worker, const std::shared_ptr<Call>& call, napi_value settle,
                   napi_value progress) {
  call->done.reset(new Message{Message::Kind::Done});
  Environment& state = Environment::of(env);
  try {
    check(env, napi_create_reference(env, settle, 1, &call->settle));
    if (progress != nullptr) check(env, napi_create_reference(env, progress, 1, &call->progress));
    for (LargeInput& input : call->largeInputs) check(env, napi_create_reference(env, input.array, 1, &input.reference));
    call->fed = call->largeInputs.empty();
    state.enqueue(worker, call);
  } catch (...) {
    state.dropReferences(*call);
    throw;
  }
  return number(env, static_cast<double>(call->id));
}

}  // namespace asdm::napi

#include "napi/environment.h"

#include <algorithm>

#include "napi/results.h"

namespace asdm::napi {

namespace {

napi_value onExit(napi_env env, napi_callback_info) {
  Environment::of(env).shutDown();
  return undefined(env);
}

}  // namespace

Environment& Environment::install(napi_env env) {
  auto* state = new Environment(env);
  const napi_status status = napi_set_instance_data(
      env, state, [](napi_env, void* data, void*) { delete static_cast<Environment*>(data); }, nullptr);
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
  check(env, napi_add_env_cleanup_hook(env,
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
  try {
    if (worker->enqueue(std::move(call))) workers_.push_back(worker);
  } catch (...) {
    open_.erase(id);
    throw;
  }
  if (awaited && open_.size() == 1) check(env_, napi_ref_threadsafe_function(env_, channel_));
}

void Environment::cancel(const std::shared_ptr<Worker>& worker, uint64_t id) noexcept {
  const auto found = open_.find(id);
  if (found == open_.end() || found->second->worker != worker) return;
  found->second->cancelled.store(true, std::memory_order_relaxed);
  worker->cancel(id);
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
}

void Environment::dropReferences() noexcept {
  for (auto& [id, call] : open_) dropReferences(*call);
  open_.clear();
  for (napi_ref* reference : {&modelClass, &float32Array}) {
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
  napi_value callback, arguments[2] = {number(env_, static_cast<double>(message.bytesDone)),
                                       number(env_, static_cast<double>(message.bytesTotal))};
  check(env_, napi_get_reference_value(env_, call.progress, &callback));
  if (napi_call_function(env_, undefined(env_), callback, 2, arguments, nullptr) == napi_ok) return;
  napi_value thrown;  // wrap.ts hands in a callback that never throws; whoever does without it learns nothing
  (void)napi_get_and_clear_last_exception(env_, &thrown);
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

void Environment::settle(Call& call) {
  open_.erase(call.id);
  if (open_.empty()) check(env_, napi_unref_threadsafe_function(env_, channel_));
  const bool cancelled = call.cancelled.load(std::memory_order_relaxed);
  if (call.kind == Call::Kind::Load && call.status.ok() && call.worker->started() && !(cancelled && call.weights.expired())) {
    if (cancelled) unload(call);
    const int64_t bytes = cancelled ? 0 : static_cast<int64_t>(call.loaded.weightBytes);
    int64_t total;
    check(env_, napi_adjust_external_memory(env_, bytes - call.worker->externalBytes, &total));
    call.worker->externalBytes = bytes;
  }
  if (cancelled) call.status = {Code::Aborted, "The call was cancelled"};

  // settle(code, message) or settle(null, result)
  napi_value arguments[2] = {nullptr, nullptr};
  if (call.status.ok()) {
    try {
      arguments[0] = null(env_);
      switch (call.kind) {
        case Call::Kind::Load: arguments[1] = loadResult(env_, call.loaded); break;
        case Call::Kind::Forward: arguments[1] = forwardOutputs(*this, call.outputs); break;
        case Call::Kind::Probe: arguments[1] = numbers(env_, call.changes); break;
      }
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
  call.outputs = {};
  if (napi_call_function(env_, undefined(env_), callback, 2, arguments, nullptr) == napi_ok) return;
  napi_value thrown;
  (void)napi_get_and_clear_last_exception(env_, &thrown);
}

void Environment::finish(const std::shared_ptr<Worker>& worker) {
  worker->join();
  workers_.erase(std::remove(workers_.begin(), workers_.end(), worker), workers_.end());
  int64_t total;
  if (worker->externalBytes != 0) check(env_, napi_adjust_external_memory(env_, -worker->externalBytes, &total));
  worker->externalBytes = 0;
}

}  // namespace asdm::napi

#include "napi/run.h"

#include <atomic>

#include "napi/environment.h"
#include "napi/handle.h"
#include "napi/requests.h"
#include "napi/results.h"
#include "runtime/run.h"

namespace asdm::napi {

namespace {

constexpr napi_type_tag kRunTag = {0x5b0e0b3f6c1d4f27, 0xa8c2e49d71b3650e};

constexpr int64_t kMostId = int64_t{1} << 53;

// Calls that are queued hold on to it, so that they find out that it was disposed.
struct LiveRun {
  std::shared_ptr<Run> run;
  std::atomic<bool> disposed{false};
};

// What the JavaScript object owns.
struct RunHandle {
  std::shared_ptr<LiveRun> live;
  std::vector<std::shared_ptr<Worker>> workers;  // of each UNet
  std::vector<std::vector<std::string>> inputs;  // of each UNet, their names
  ~RunHandle() { release(); }

  // Unmapping gigabytes takes long enough to be felt on an event loop, so the features are freed on a model's thread, behind a pass under way.
  void release() noexcept {
    if (live == nullptr) return;
    live->disposed.store(true, std::memory_order_relaxed);
    try {
      const auto task = std::make_shared<Call>();
      task->work = [owned = std::move(live)](Model&, const std::shared_ptr<Call>&) { return Status::good(); };
      workers[0]->enqueue(task);
    } catch (...) {
      // The model is disposed: whoever was last to hold the features has freed them.
    }
    live.reset();
  }
};

RunHandle& handleOf(napi_env env, napi_value self) { return *static_cast<RunHandle*>(unwrap(env, self, kRunTag, "run")); }

Status disposedStatus() { return {Code::Disposed, "Expected a live run but it was disposed"}; }

// To be called after all conversions, since those may run code that disposes.
RunHandle& liveHandleOf(napi_env env, napi_value self) {
  RunHandle& handle = handleOf(env, self);
  if (handle.live == nullptr) throw Failure{disposedStatus()};
  return handle;
}

// condition(values, settle)
napi_value condition(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  std::vector<std::string> names;
  for (const std::vector<std::string>& list : handleOf(env, arguments.self).inputs) names.insert(names.end(), list.begin(), list.end());
  const auto call = std::make_shared<Call>();
  const auto values = std::make_shared<HostInputs>(hostInputs(Value(env, arguments[0], "values"), names, &call->largeInputs));
  const napi_value settle = Value(env, arguments[1], "settle").function();
  RunHandle& handle = liveHandleOf(env, arguments.self);

  call->work = [live = handle.live, values](Model&, const std::shared_ptr<Call>&) {
    return live->disposed.load(std::memory_order_relaxed) ? disposedStatus() : live->run->condition(std::move(*values));
  };
  return enqueue(env, handle.workers[0], call, settle, nullptr);
}

// A pass of a step: its inputs are { values, profile }.
struct Pass {
  size_t step = 0, unet = 0;
  ForwardInputs inputs;
};

std::shared_ptr<Pass> passOf(const Value& step, const Value& inputs, const RunHandle& handle, Call& call) {
  const auto pass = std::make_shared<Pass>();
  pass->step = static_cast<size_t>(step.integer(0, kMostId));
  // A step that the run does not have is answered by the first model.
  if (handle.live == nullptr) throw Failure{disposedStatus()};
  pass->unet = handle.live->run->unetOf(pass->step);
  pass->inputs = forwardInputs(inputs, handle.inputs[pass->unet], &call.largeInputs);
  return pass;
}

// forward(step, chosen, inputs, settle)
napi_value forward(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  const auto call = std::make_shared<Call>();
  const auto chosen = static_cast<size_t>(Value(env, arguments[1], "chosen").integer(0, kMostId));
  const auto pass = passOf(Value(env, arguments[0], "step"), Value(env, arguments[2], "inputs"), handleOf(env, arguments.self), *call);
  const napi_value settle = Value(env, arguments[3], "settle").function();
  RunHandle& handle = liveHandleOf(env, arguments.self);

  const auto outputs = std::make_shared<ForwardOutputs>();
  call->work = [live = handle.live, pass, chosen, outputs](Model& model, const std::shared_ptr<Call>& self) {
    if (live->disposed.load(std::memory_order_relaxed)) return disposedStatus();
    ASDM_TRY(model.forwardRun(*live->run, pass->step, chosen, pass->inputs, self->cancelled, outputs.get()));
    self->largeOutputs = largeOutputs(*outputs);
    return Status::good();
  };
  call->result = [outputs](Environment& state, const Call& self) { return forwardOutputs(state, *outputs, self.largeOutputs); };
  return enqueue(env, handle.workers[pass->unet], call, settle, nullptr);
}

// probe(step, renew, inputs, settle)
napi_value probe(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  const auto call = std::make_shared<Call>();
  const auto renew = std::make_shared<std::vector<size_t>>(probeNumbers(Value(env, arguments[1], "renew")));
  const auto pass = passOf(Value(env, arguments[0], "step"), Value(env, arguments[2], "inputs"), handleOf(env, arguments.self), *call);
  const napi_value settle = Value(env, arguments[3], "settle").function();
  RunHandle& handle = liveHandleOf(env, arguments.self);

  const auto changes = std::make_shared<std::vector<double>>();
  call->work = [live = handle.live, pass, renew, changes](Model& model, const std::shared_ptr<Call>& self) {
    if (live->disposed.load(std::memory_order_relaxed)) return disposedStatus();
    return model.probeRun(*live->run, pass->step, *renew, pass->inputs, self->cancelled, changes.get());
  };
  call->result = [changes](Environment& state, const Call&) { return numbers(state.env(), *changes); };
  return enqueue(env, handle.workers[pass->unet], call, settle, nullptr);
}

napi_value dispose(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  handleOf(env, arguments.self).release();
  return undefined(env);
}

// The object: `info` and the methods.
napi_value runObject(napi_env env, std::unique_ptr<RunHandle> handle, const RunInfo& info) {
  const napi_value value = object(env);
  const auto method = [](const char* name, napi_callback callback) {
    return napi_property_descriptor{name, nullptr, callback, nullptr, nullptr, nullptr, napi_default_method, nullptr};
  };
  const napi_property_descriptor properties[] = {
      method("condition", guarded<condition>),
      method("probe", guarded<probe>),
      method("forward", guarded<forward>),
      method("dispose", guarded<dispose>),
  };
  set(env, value, "info", runInfo(env, info));
  check(env, napi_define_properties(env, value, sizeof properties / sizeof *properties, properties));
  check(env, napi_type_tag_object(env, value, &kRunTag));
  check(env,
        napi_wrap(env, value, handle.get(), [](napi_env, void* data, void*) { delete static_cast<RunHandle*>(data); }, nullptr, nullptr));
  (void)handle.release();
  return value;
}

}  // namespace

napi_value startRun(napi_env env, std::vector<std::shared_ptr<Worker>> workers, const ForwardShape& shape, RunSpec spec,
                    napi_value settle) {
  std::vector<RunModel> models;
  for (const std::shared_ptr<Worker>& worker : workers) models.push_back(worker->model().runModel());
  struct Made {
    std::unique_ptr<RunHandle> handle = std::make_unique<RunHandle>();
    RunInfo info;
  };
  const auto made = std::make_shared<Made>();
  for (const RunModel& model : models) made->handle->inputs.push_back(inputNames(*model.graph));
  const std::shared_ptr<Worker> first = workers[0];
  made->handle->workers = std::move(workers);
  const auto call = std::make_shared<Call>();
  call->work = [made, models, shape, spec = std::move(spec)](Model&, const std::shared_ptr<Call>& self) {
    const auto live = std::make_shared<LiveRun>();
    ASDM_TRY(Run::create(models, shape, spec, self->cancelled, &live->run, &made->info));
    made->handle->live = live;
    return Status::good();
  };
  call->result = [made](Environment& state, const Call&) { return runObject(state.env(), std::move(made->handle), made->info); };
  return enqueue(env, first, call, settle, nullptr);
}

}  // namespace asdm::napi

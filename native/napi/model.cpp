#include "napi/model.h"

#include <memory>

#include "napi/environment.h"
#include "napi/graph.h"
#include "napi/handle.h"
#include "napi/requests.h"
#include "napi/results.h"
#include "napi/run.h"

namespace asdm::napi {

namespace {

constexpr HandleClass kModel = {{0x8f6c2d1be3a74a05, 0x9d41c7f0526b8e3a}, "NativeModel", "model", "createModel", &Environment::modelClass};

Handle& handleOf(napi_env env, napi_value self) { return kModel.handleOf(env, self); }
Handle& liveHandleOf(napi_env env, napi_value self) { return kModel.liveHandleOf(env, self); }
napi_value construct(napi_env env, napi_callback_info info) { return kModel.construct(env, info); }
napi_value cpuName(napi_env env, napi_callback_info info) { return kModel.cpu(env, info); }
napi_value dispose(napi_env env, napi_callback_info info) { return kModel.dispose(env, info); }

napi_value weights(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  return weightRequests(env, liveHandleOf(env, arguments.self).worker->model().weights());
}

napi_value tapNames(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  return strings(env, liveHandleOf(env, arguments.self).worker->model().tapNames());
}

napi_value graph(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  return graphInfo(env, liveHandleOf(env, arguments.self).worker->model().graph());
}

napi_value describe(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  handleOf(env, arguments.self);
  const ForwardShape shape = forwardShape(Value(env, arguments[0], "shape"));
  const std::vector<std::string> taps = tapList(Value(env, arguments[1], "taps"));
  ProgramInfo result;
  require(liveHandleOf(env, arguments.self).worker->model().describe(shape, taps, &result));
  return programInfo(env, result);
}

// load(sources, onProgress, settle, cache)
napi_value load(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  handleOf(env, arguments.self);
  const auto sources = std::make_shared<std::vector<WeightSource>>(weightSources(Value(env, arguments[0], "sources")));
  const Value progress(env, arguments[1], "onProgress");
  const napi_value onProgress = progress.missing() ? nullptr : progress.function();
  const napi_value settle = Value(env, arguments[2], "settle").function();
  const std::string cache = cachePath(Value(env, arguments[3], "cache"));
  Handle& handle = liveHandleOf(env, arguments.self);

  const auto call = std::make_shared<Call>();
  call->loads = true;
  Environment& state = Environment::of(env);
  // The call is handed in again by the worker, since a function that held it would keep it alive forever.
  const bool told = onProgress != nullptr;
  call->work = [sources, cache, told, &state](Model& model, const std::shared_ptr<Call>& self) {
    const LoadProgress report = [&](uint64_t done, uint64_t total) {
      if (told) postProgress(state, self, done, total);
    };
    return model.load(*sources, cache, self->cancelled, report, &self->loaded);
  };
  return enqueue(env, handle.worker, call, settle, onProgress);
}

// change(sources, settle) -> names of weights that are not finite
napi_value change(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  handleOf(env, arguments.self);
  const auto sources = std::make_shared<std::vector<WeightSource>>(weightSources(Value(env, arguments[0], "sources")));
  const napi_value settle = Value(env, arguments[1], "settle").function();
  Handle& handle = liveHandleOf(env, arguments.self);

  const auto call = std::make_shared<Call>();
  const auto changed = std::make_shared<LoadResult>();
  call->work = [sources, changed](Model& model, const std::shared_ptr<Call>& self) {
    return model.change(*sources, self->cancelled, changed.get());
  };
  call->result = [changed](Environment& state, const Call&) { return strings(state.env(), changed->nonFinite); };
  return enqueue(env, handle.worker, call, settle, nullptr);
}

// share(other, settle)
napi_value share(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  handleOf(env, arguments.self);
  const napi_value settle = Value(env, arguments[1], "settle").function();
  const std::shared_ptr<const WeightStore> weights = liveHandleOf(env, arguments[0]).worker->model().loadedWeights();
  if (weights == nullptr) throw Failure{{Code::InvalidArgument, "Expected a model with loaded weights to share but it has none"}};
  Handle& handle = liveHandleOf(env, arguments.self);

  const auto call = std::make_shared<Call>();
  call->loads = true;
  call->work = [weights](Model& model, const std::shared_ptr<Call>&) { return model.share(*weights); };
  return enqueue(env, handle.worker, call, settle, nullptr);
}

// forward({ values, clipSkip, taps, profile }, settle)
napi_value forward(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  const std::vector<std::string> names = handleOf(env, arguments.self).inputs;
  const auto call = std::make_shared<Call>();
  const auto inputs = std::make_shared<ForwardInputs>(forwardInputs(Value(env, arguments[0], "inputs"), names, &call->largeInputs));
  const napi_value settle = Value(env, arguments[1], "settle").function();
  Handle& handle = liveHandleOf(env, arguments.self);

  const auto outputs = std::make_shared<ForwardOutputs>();
  call->work = [inputs, outputs](Model& model, const std::shared_ptr<Call>& self) {
    ASDM_TRY(model.forward(*inputs, self->cancelled, outputs.get()));
    self->largeOutputs = largeOutputs(*outputs);
    return Status::good();
  };
  call->result = [outputs](Environment& state, const Call& self) { return forwardOutputs(state, *outputs, self.largeOutputs); };
  return enqueue(env, handle.worker, call, settle, nullptr);
}

// createRun(shape, steps, { probes, maps, extrapolate, computeMissing }?, other models?, settle)
napi_value createRun(napi_env env, napi_callback_info info) {
  const Arguments<5> arguments(env, info);
  handleOf(env, arguments.self);
  const ForwardShape shape = forwardShape(Value(env, arguments[0], "shape"));
  RunSpec spec = runSpec(Value(env, arguments[1], "steps"), Value(env, arguments[2], "more"));
  std::vector<napi_value> objects{arguments.self};
  const Value others(env, arguments[3], "others");
  if (!others.missing())
    for (const Value& other : others.list(kRunUNets - 1)) objects.push_back(other.raw());
  const napi_value settle = Value(env, arguments[4], "settle").function();
  std::vector<std::shared_ptr<Worker>> workers;
  for (napi_value object : objects) workers.push_back(liveHandleOf(env, object).worker);
  return startRun(env, std::move(workers), shape, std::move(spec), settle);
}

napi_value trim(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  Handle& handle = liveHandleOf(env, arguments.self);
  if (!handle.worker->started()) return undefined(env);  // nothing ever ran: there is no arena
  const auto call = std::make_shared<Call>();
  call->work = [](Model& model, const std::shared_ptr<Call>&) {
    model.trim();
    return Status::good();
  };
  Environment::of(env).enqueue(handle.worker, call);
  return undefined(env);
}

}  // namespace

void defineModelClass(napi_env env) {
  kModel.define(env, guarded<construct>,
                {
                    {"cpu", nullptr, nullptr, guarded<cpuName>, nullptr, nullptr, napi_enumerable, nullptr},
                    method("weights", guarded<weights>),
                    method("tapNames", guarded<tapNames>),
                    method("graph", guarded<graph>),
                    method("describe", guarded<describe>),
                    method("load", guarded<load>),
                    method("change", guarded<change>),
                    method("share", guarded<share>),
                    method("forward", guarded<forward>),
                    method("createRun", guarded<createRun>),
                    method("trim", guarded<trim>),
                    method("dispose", guarded<dispose>),
                });
}

napi_value createModel(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  const ModelSpec spec = modelSpec(Value(env, arguments[0], "spec"));
  const ModelOptions options = modelOptions(Value(env, arguments[1], "options"));
  const int threads = threadCount(Value(env, arguments[1], "options"));
  Environment& state = Environment::of(env);

  std::shared_ptr<Device> device;
  require(state.devices.find(options.device, &device));
  std::unique_ptr<Model> model;
  withWorkerThreads(state, threads, [&](std::shared_ptr<WorkerThreads> workers) {
    return Model::create(spec, options, std::move(device), std::move(workers), &model);
  });
  const std::string cpu = model->cpu();
  std::vector<std::string> inputs = inputNames(model->graph());
  return kModel.create(env, std::unique_ptr<Handle>(new Handle{std::make_shared<Worker>(std::move(model), state), std::move(inputs), cpu}));
}

}  // namespace asdm::napi

#include "napi/model.h"

#include <memory>
#include <system_error>

#include "napi/environment.h"
#include "napi/graph.h"
#include "napi/requests.h"
#include "napi/results.h"
#include "napi/run.h"

namespace asdm::napi {

namespace {

// Marks our objects, so that a method called on another object (of another addon, even) fails instead of misreading it.
constexpr napi_type_tag kModelTag = {0x8f6c2d1be3a74a05, 0x9d41c7f0526b8e3a};

// What the wrapper owns. The worker outlives it while calls are open.
struct Handle {
  std::shared_ptr<Worker> worker;
  std::vector<std::string> inputs;  // names
  std::string cpu;
  bool disposed = false;
  ~Handle() {
    if (!disposed) worker->release();
  }
};

Handle& handleOf(napi_env env, napi_value self) {
  bool ours = false;
  void* data = nullptr;
  napi_valuetype type;
  check(env, napi_typeof(env, self, &type));
  if (type == napi_object) check(env, napi_check_object_type_tag(env, self, &kModelTag, &ours));
  if (!ours || napi_unwrap(env, self, &data) != napi_ok)
    throw Failure{{Code::InvalidArgument, "Expected the method to be called on a model but received " + shown(env, self)}};
  return *static_cast<Handle*>(data);
}

// To be called after all conversions, since those may run code that disposes.
Handle& liveHandleOf(napi_env env, napi_value self) {
  Handle& handle = handleOf(env, self);
  if (handle.disposed) throw Failure{{Code::Disposed, "Expected a live model but it was disposed"}};
  return handle;
}

// new NativeModel(): works only while createModel is at it, which leaves the handle in the environment.
napi_value construct(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  std::unique_ptr<Handle> handle(static_cast<Handle*>(Environment::of(env).takeNewborn()));
  if (!handle) throw Failure{{Code::InvalidArgument, "Expected models to be made by createModel but the constructor was called"}};
  check(env, napi_type_tag_object(env, arguments.self, &kModelTag));
  check(env,
        napi_wrap(
            env, arguments.self, handle.get(), [](napi_env, void* data, void*) { delete static_cast<Handle*>(data); }, nullptr, nullptr));
  (void)handle.release();
  return arguments.self;
}

napi_value cpuName(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  return string(env, handleOf(env, arguments.self).cpu);
}

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

napi_value dispose(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  Handle& handle = handleOf(env, arguments.self);
  if (!handle.disposed) handle.worker->dispose();
  handle.disposed = true;
  return undefined(env);
}

}  // namespace

void defineModelClass(napi_env env) {
  const auto method = [](const char* name, napi_callback callback) {
    return napi_property_descriptor{name, nullptr, callback, nullptr, nullptr, nullptr, napi_default_method, nullptr};
  };
  const napi_property_descriptor properties[] = {
      {"cpu", nullptr, nullptr, guarded<cpuName>, nullptr, nullptr, napi_enumerable, nullptr},
      method("weights", guarded<weights>),
      method("tapNames", guarded<tapNames>),
      method("graph", guarded<graph>),
      method("describe", guarded<describe>),
      method("load", guarded<load>),
      method("share", guarded<share>),
      method("forward", guarded<forward>),
      method("createRun", guarded<createRun>),
      method("trim", guarded<trim>),
      method("dispose", guarded<dispose>),
  };
  napi_value constructor;
  check(env, napi_define_class(env, "NativeModel", NAPI_AUTO_LENGTH, guarded<construct>, nullptr, sizeof properties / sizeof *properties,
                               properties, &constructor));
  check(env, napi_create_reference(env, constructor, 1, &Environment::of(env).modelClass));
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
  try {
    require(Model::create(spec, options, std::move(device), state.workerThreads(threads), &model));
  } catch (const std::system_error& error) {
    throw Failure{{Code::OutOfMemory,
                   std::string("Expected the system to start ") + std::to_string(threads) + " threads but it did not: " + error.what()}};
  }
  const std::string cpu = model->cpu();
  std::vector<std::string> inputs = inputNames(model->graph());
  std::unique_ptr<Handle> handle(new Handle{std::make_shared<Worker>(std::move(model), state), std::move(inputs), cpu});
  napi_value constructor, instance;
  check(env, napi_get_reference_value(env, state.modelClass, &constructor));
  state.newborn = handle.release();
  const napi_status status = napi_new_instance(env, constructor, 0, nullptr, &instance);
  handle.reset(static_cast<Handle*>(state.takeNewborn()));  // still there if the constructor was not reached
  check(env, status);
  return instance;
}

}  // namespace asdm::napi

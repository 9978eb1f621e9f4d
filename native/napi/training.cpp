#include "napi/training.h"

#include <limits>
#include <memory>

#include "napi/environment.h"
#include "napi/handle.h"
#include "napi/requests.h"
#include "napi/results.h"

namespace asdm::napi {

namespace {

constexpr int64_t kMostInt = std::numeric_limits<int32_t>::max(), kMostId = int64_t{1} << 53;
constexpr size_t kNameBytes = 1024, kMostPrefixes = 65536, kMostLosses = 1024;

constexpr HandleClass kTrainer = {
    {0x41d7a95c0be84f62, 0xb3e20c8f67915da4}, "NativeTrainer", "trainer", "createTrainer", &Environment::trainerClass};

Handle& handleOf(napi_env env, napi_value self) { return kTrainer.handleOf(env, self); }
Handle& liveHandleOf(napi_env env, napi_value self) { return kTrainer.liveHandleOf(env, self); }
napi_value construct(napi_env env, napi_callback_info info) { return kTrainer.construct(env, info); }
napi_value cpuName(napi_env env, napi_callback_info info) { return kTrainer.cpu(env, info); }
napi_value dispose(napi_env env, napi_callback_info info) { return kTrainer.dispose(env, info); }

Trainer::Kind kindOf(const Value& value) {
  const std::string name = value.text(kNameBytes);
  if (name == "weight") return Trainer::Kind::Weight;
  if (name == "first") return Trainer::Kind::First;
  if (name == "second") return Trainer::Kind::Second;
  if (name == "average") return Trainer::Kind::Average;
  if (name == "gradient") return Trainer::Kind::Gradient;
  value.fail("weight, first, second, average or gradient");
}

TrainingOptions trainingOptions(const Value& spec, const Value& runtime) {
  TrainingOptions options;
  options.cpu = runtime["cpu"].text(kNameBytes);
  for (const Value& item : spec["losses"].list(kMostLosses)) {
    TrainingLoss loss;
    loss.name = item["name"].text(kNameBytes);
    const Value unit = item["unit"], kind = item["loss"], adapter = item["adapter"];
    if (!unit.missing()) loss.unit = unit.text(kNameBytes);
    const std::string name = kind.text(kNameBytes);
    if (name != "squared" && name != "cosine") kind.fail("squared or cosine");
    loss.loss = name == "cosine" ? Loss::Cosine : Loss::SquaredError;
    if (!adapter.missing()) {
      loss.adapterIn = adapter["from"].integer(1, 1 << 16);
      loss.adapterOut = adapter["to"].integer(1, 1 << 16);
    }
    options.losses.push_back(std::move(loss));
  }
  const Value train = spec["train"];
  if (!train.missing()) options.trained = train.texts(kNameBytes, kMostPrefixes);
  options.average = spec["average"].boolean();
  options.textGradient = spec["textGradient"].boolean();
  return options;
}

// Large arrays are noted in the call.
std::shared_ptr<TrainingBatch> trainingBatch(const Value& value, const std::vector<std::string>& names, std::vector<LargeInput>* large) {
  const auto made = std::make_shared<TrainingBatch>();
  TrainingBatch& batch = *made;
  batch.values = hostInputs(value["values"], names, large);
  for (const Value& target : value["targets"].list(kMostLosses)) batch.targets.push_back(target.input(large));
  for (const Value& weight : value["weights"].list(kMostLosses)) batch.weights.push_back(weight.floats());
  return made;
}

float fraction(const Value& value, double most) {
  const double number = value.finite();
  if (number < 0 || number > most) value.fail("a number from 0 to " + std::to_string(most));
  return static_cast<float>(number);
}

UpdateOptions updateOptions(const Value& value) {
  UpdateOptions options;
  options.rate = fraction(value["rate"], 1e3);
  options.beta1 = fraction(value["beta1"], 1);
  options.beta2 = fraction(value["beta2"], 1);
  options.eps = fraction(value["eps"], 1);
  options.decay = fraction(value["decay"], 1e3);
  options.clip = value["clip"].finite();
  options.keep = fraction(value["keep"], 1);
  return options;
}

// What a call computes, and how it becomes JavaScript's.
template <class Result>
std::shared_ptr<Call> trainCall(std::shared_ptr<Result> result, std::function<Status(Training&, Call&)> work,
                                napi_value (*give)(Environment&, const Result&)) {
  const auto call = std::make_shared<Call>();
  call->train = [work = std::move(work)](Training& training, const std::shared_ptr<Call>& self) {
    const Status status = work(training, *self);
    self->heldBytes = static_cast<int64_t>(training.bytes());
    return status;
  };
  call->result = [result = std::move(result), give](Environment& state, const Call&) { return give(state, *result); };
  return call;
}

struct Nothing {};
napi_value giveNothing(Environment& state, const Nothing&) { return undefined(state.env()); }
napi_value giveNames(Environment& state, const std::vector<std::string>& names) { return strings(state.env(), names); }
napi_value giveText(Environment& state, const std::string& text) { return string(state.env(), text); }
napi_value giveNumber(Environment& state, const double& value) { return number(state.env(), value); }

napi_value giveLosses(Environment& state, const TrainingResult& result) {
  const napi_env env = state.env();
  napi_value losses;
  check(env, napi_create_array_with_length(env, result.losses.size(), &losses));
  for (size_t i = 0; i < result.losses.size(); i++)
    check(env,
          napi_set_element(env, losses, static_cast<uint32_t>(i), floatArray(state, result.losses[i].data(), result.losses[i].size())));
  const napi_value value = object(env);
  set(env, value, "losses", losses);
  set(env, value, "bytes", number(env, static_cast<double>(result.bytes)));
  if (!result.textGradient.shape.empty()) set(env, value, "textGradient", tensor(state, result.textGradient));
  return value;
}

napi_value weights(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  const std::vector<TrainedWeight> list = liveHandleOf(env, arguments.self).worker->training().weights();
  napi_value array;
  check(env, napi_create_array_with_length(env, list.size(), &array));
  for (size_t i = 0; i < list.size(); i++) {
    const napi_value row = object(env);
    napi_value trained, adapter;
    check(env, napi_get_boolean(env, list[i].trained, &trained));
    check(env, napi_get_boolean(env, list[i].adapter, &adapter));
    set(env, row, "name", string(env, list[i].name));
    set(env, row, "shape", shape(env, list[i].shape));
    set(env, row, "rows", number(env, static_cast<double>(list[i].rows)));
    set(env, row, "trained", trained);
    set(env, row, "adapter", adapter);
    check(env, napi_set_element(env, array, static_cast<uint32_t>(i), row));
  }
  return array;
}

// describe(shape) -> { activationBytes, stateBytes }
napi_value describe(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  handleOf(env, arguments.self);
  const ForwardShape shape = forwardShape(Value(env, arguments[0], "shape"));
  uint64_t activations = 0;
  const Training& training = liveHandleOf(env, arguments.self).worker->training();
  require(training.describe(shape, &activations));
  const napi_value value = object(env);
  set(env, value, "activationBytes", number(env, static_cast<double>(activations)));
  set(env, value, "stateBytes", number(env, static_cast<double>(training.stateBytes())));
  return value;
}

// load(kind, sources, onProgress, settle)
napi_value load(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  handleOf(env, arguments.self);
  const Trainer::Kind kind = kindOf(Value(env, arguments[0], "kind"));
  const auto sources = std::make_shared<std::vector<WeightSource>>(weightSources(Value(env, arguments[1], "sources")));
  const Value progress(env, arguments[2], "onProgress");
  const napi_value onProgress = progress.missing() ? nullptr : progress.function();
  const napi_value settle = Value(env, arguments[3], "settle").function();
  Handle& handle = liveHandleOf(env, arguments.self);
  Environment& state = Environment::of(env);
  const bool told = onProgress != nullptr;
  const auto result = std::make_shared<std::vector<std::string>>();
  const auto call = std::make_shared<Call>();
  call->train = [kind, sources, told, result, &state](Training& training, const std::shared_ptr<Call>& self) {
    const auto report = [&](uint64_t done, uint64_t total) {
      if (told) postProgress(state, self, done, total);
    };
    const Status status = training.load(kind, *sources, self->cancelled, report, result.get());
    self->heldBytes = static_cast<int64_t>(training.bytes());
    return status;
  };
  call->result = [result](Environment& environment, const Call&) { return giveNames(environment, *result); };
  return enqueue(env, handle.worker, call, settle, onProgress);
}

// write(kind, name, values, settle)
napi_value write(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  handleOf(env, arguments.self);
  const Trainer::Kind kind = kindOf(Value(env, arguments[0], "kind"));
  const std::string name = Value(env, arguments[1], "name").text(kNameBytes);
  const auto values = std::make_shared<std::vector<float>>(Value(env, arguments[2], "values").floats());
  const napi_value settle = Value(env, arguments[3], "settle").function();
  const auto work = [kind, name, values](Training& training, Call&) { return training.write(kind, name, *values); };
  return enqueue(env, liveHandleOf(env, arguments.self).worker, trainCall<Nothing>(std::make_shared<Nothing>(), work, giveNothing), settle,
                 nullptr);
}

napi_value giveFloats(Environment& state, const std::vector<float>& values) { return floatArray(state, values.data(), values.size()); }

// read(kind, name, first, rows, settle)
napi_value read(napi_env env, napi_callback_info info) {
  const Arguments<5> arguments(env, info);
  handleOf(env, arguments.self);
  const Trainer::Kind kind = kindOf(Value(env, arguments[0], "kind"));
  const std::string name = Value(env, arguments[1], "name").text(kNameBytes);
  const int64_t first = Value(env, arguments[2], "first").integer(0, kMostInt),
                rows = Value(env, arguments[3], "rows").integer(1, kMostInt);
  const napi_value settle = Value(env, arguments[4], "settle").function();
  const auto result = std::make_shared<std::vector<float>>();
  const auto work = [kind, name, first, rows, result](Training& training, Call&) {
    return training.read(kind, name, first, rows, result.get());
  };
  return enqueue(env, liveHandleOf(env, arguments.self).worker, trainCall<std::vector<float>>(result, work, giveFloats), settle, nullptr);
}

// begin(fresh, steps, settle)
napi_value begin(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  handleOf(env, arguments.self);
  const bool fresh = Value(env, arguments[0], "fresh").boolean();
  const int64_t steps = Value(env, arguments[1], "steps").integer(0, kMostId);
  const napi_value settle = Value(env, arguments[2], "settle").function();
  const auto work = [fresh, steps](Training& training, Call&) { return training.begin(fresh, steps); };
  return enqueue(env, liveHandleOf(env, arguments.self).worker, trainCall<Nothing>(std::make_shared<Nothing>(), work, giveNothing), settle,
                 nullptr);
}

// accumulate(batch, backward, settle)
napi_value accumulate(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  handleOf(env, arguments.self);
  std::vector<LargeInput> large;
  const std::vector<std::string> names = handleOf(env, arguments.self).inputs;
  const std::shared_ptr<TrainingBatch> batch = trainingBatch(Value(env, arguments[0], "batch"), names, &large);
  const bool backward = Value(env, arguments[1], "backward").boolean();
  const napi_value settle = Value(env, arguments[2], "settle").function();
  const auto result = std::make_shared<TrainingResult>();
  const auto work = [batch, backward, result](Training& training, Call& self) {
    return training.accumulate(*batch, backward, self.cancelled, result.get());
  };
  const std::shared_ptr<Call> call = trainCall<TrainingResult>(result, work, giveLosses);
  call->largeInputs = std::move(large);
  return enqueue(env, liveHandleOf(env, arguments.self).worker, call, settle, nullptr);
}

// firstNonFinite(batch, settle)
napi_value firstNonFinite(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  handleOf(env, arguments.self);
  std::vector<LargeInput> large;
  const std::vector<std::string> names = handleOf(env, arguments.self).inputs;
  const std::shared_ptr<TrainingBatch> batch = trainingBatch(Value(env, arguments[0], "batch"), names, &large);
  const napi_value settle = Value(env, arguments[1], "settle").function();
  const auto result = std::make_shared<std::string>();
  const auto work = [batch, result](Training& training, Call& self) {
    return training.firstNonFinite(*batch, self.cancelled, result.get());
  };
  const std::shared_ptr<Call> call = trainCall<std::string>(result, work, giveText);
  call->largeInputs = std::move(large);
  return enqueue(env, liveHandleOf(env, arguments.self).worker, call, settle, nullptr);
}

// update(options, settle) -> the gradients' norm before they were clipped
napi_value update(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  handleOf(env, arguments.self);
  const UpdateOptions options = updateOptions(Value(env, arguments[0], "options"));
  const napi_value settle = Value(env, arguments[1], "settle").function();
  const auto result = std::make_shared<double>(0);
  const auto work = [options, result](Training& training, Call& self) { return training.update(options, self.cancelled, result.get()); };
  return enqueue(env, liveHandleOf(env, arguments.self).worker, trainCall<double>(result, work, giveNumber), settle, nullptr);
}

}  // namespace

void defineTrainerClass(napi_env env) {
  kTrainer.define(env, guarded<construct>,
                  {
                      {"cpu", nullptr, nullptr, guarded<cpuName>, nullptr, nullptr, napi_enumerable, nullptr},
                      method("weights", guarded<weights>),
                      method("describe", guarded<describe>),
                      method("load", guarded<load>),
                      method("write", guarded<write>),
                      method("read", guarded<read>),
                      method("begin", guarded<begin>),
                      method("accumulate", guarded<accumulate>),
                      method("firstNonFinite", guarded<firstNonFinite>),
                      method("update", guarded<update>),
                      method("dispose", guarded<dispose>),
                  });
}

napi_value createTrainer(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  const Value given(env, arguments[0], "spec"), runtime(env, arguments[1], "options");
  const ModelSpec spec = modelSpec(given);
  const TrainingOptions options = trainingOptions(given, runtime);
  const int threads = threadCount(runtime);
  Environment& state = Environment::of(env);

  std::shared_ptr<Device> device;
  require(state.devices.find("auto", &device));
  std::unique_ptr<Training> training;
  withWorkerThreads(state, threads, [&](std::shared_ptr<WorkerThreads> workers) {
    return Training::create(spec, options, std::move(device), std::move(workers), &training);
  });
  const std::string cpu = training->cpu();
  std::vector<std::string> inputs = inputNames(training->graph());
  return kTrainer.create(env,
                         std::unique_ptr<Handle>(new Handle{std::make_shared<Worker>(std::move(training), state), std::move(inputs), cpu}));
}

}  // namespace asdm::napi

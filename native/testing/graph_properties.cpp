// Graph machinery for tests: the pieces of compilation by themselves, and random graphs compiled and run in several ways.
#include <algorithm>
#include <map>

#include "cpu/device.h"
#include "cpu/registry.h"
#include "graph/execute.h"
#include "graph/reach.h"
#include "runtime/transfers.h"
#include "testing/graph_random.h"
#include "testing/handle_device.h"
#include "testing/op_runner.h"
#include "weights/stored.h"

namespace asdm::testing {

namespace {

void check(Napi::Env env, const Status& status) {
  if (!status.ok()) throw Napi::Error::New(env, status.message);
}

std::vector<UnitId> unitIds(const Napi::Value& value) {
  const Napi::Array array = value.As<Napi::Array>();
  std::vector<UnitId> ids;
  for (uint32_t i = 0; i < array.Length(); i++) ids.push_back(array.Get(i).ToNumber().Int32Value());
  return ids;
}

template <class T>
Napi::Array toArray(Napi::Env env, const std::vector<T>& values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (size_t i = 0; i < values.size(); i++) array.Set(static_cast<uint32_t>(i), Napi::Value::From(env, static_cast<T>(values[i])));
  return array;
}

Napi::Object lifetimeObject(Napi::Env env, const Lifetime& value, uint64_t offset) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("first", value.first);
  object.Set("last", value.last);
  object.Set("bytes", static_cast<double>(value.bytes));
  object.Set("takesOver", value.takesOver);
  object.Set("offset", static_cast<double>(offset));
  return object;
}

// reach(inputs of each unit, outputs, inherited) -> { run, read }
Napi::Value runReach(const Napi::CallbackInfo& info) {
  const Napi::Array units = info[0].As<Napi::Array>();
  Graph graph;
  for (uint32_t i = 0; i < units.Length(); i++) {
    Unit unit;
    unit.inputs = unitIds(units.Get(i));
    graph.units.push_back(std::move(unit));
  }
  const Reach result = reach(graph, unitIds(info[1]), unitIds(info[2]));
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("run", toArray(info.Env(), result.run));
  object.Set("read", toArray(info.Env(), result.read));
  return object;
}

// place([{ first, last, bytes, takesOver }]) -> { offsets, bytes }
Napi::Value runPlace(const Napi::CallbackInfo& info) {
  const Napi::Array list = info[0].As<Napi::Array>();
  std::vector<Lifetime> values;
  for (uint32_t i = 0; i < list.Length(); i++) {
    const Napi::Object value = list.Get(i).As<Napi::Object>();
    values.push_back({value.Get("first").ToNumber(), value.Get("last").ToNumber(),
                      static_cast<uint64_t>(value.Get("bytes").ToNumber().Int64Value()), value.Get("takesOver").ToNumber()});
  }
  const Placement placement = placeValues(values, cpu::kTraits.alignment);
  std::vector<double> offsets(placement.offsets.begin(), placement.offsets.end());
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("offsets", toArray(info.Env(), offsets));
  object.Set("bytes", static_cast<double>(placement.bytes));
  return object;
}

// convert('F16' | 'BF16' | 'F32' | 'F64' | 'F8_E4M3' | 'F8_E5M2', Uint8Array, set) -> { values: Float32Array, finite }, read from an odd
// address as loading does, by the kernels of a set
Napi::Value runConvert(const Napi::CallbackInfo& info) {
  const std::string name = info[0].ToString();
  const std::map<std::string, StoredType> types = {{"F32", StoredType::F32},        {"F16", StoredType::F16},
                                                   {"BF16", StoredType::BF16},      {"F64", StoredType::F64},
                                                   {"F8_E4M3", StoredType::F8E4M3}, {"F8_E5M2", StoredType::F8E5M2}};
  const StoredType type = types.at(name);
  const Napi::Uint8Array bytes = info[1].As<Napi::Uint8Array>();
  std::vector<uint8_t> shifted(bytes.ByteLength() + 1);
  std::memcpy(shifted.data() + 1, bytes.Data(), bytes.ByteLength());
  const size_t count = bytes.ByteLength() / static_cast<size_t>(storedBytes(type));
  std::vector<float> widened(isWidened(type) ? count : 0);
  if (isWidened(type)) widen(type, shifted.data() + 1, static_cast<int64_t>(count), widened.data());
  const void* const numbers = isWidened(type) ? static_cast<const void*>(widened.data()) : shifted.data() + 1;
  Napi::Float32Array floats = Napi::Float32Array::New(info.Env(), count);
  const KernelTable* table = nullptr;
  check(info.Env(), cpu::kernels(info[2].ToString(), DType::F32, &table));
  Napi::Object result = Napi::Object::New(info.Env());
  ThreadPool pool(1);
  cpu::CpuQueue queue(pool);
  result.Set("finite", table->copyNumbers({handedType(type), numbers, static_cast<int64_t>(count), DType::F32, floats.Data()}, queue));
  result.Set("values", floats);
  return result;
}

// randomGraph({ seed, set, threads, fuse, poison, taps: all values too, dtype: 'fp32' if left out, handles: on a device whose memory the host
// cannot address }) ->
//   { outputs: { name: Float32Array }, units, fused, gated, inPlace, lifetimes: [{ first, last, bytes, takesOver, offset }], arenaBytes }
Napi::Value runRandomGraph(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object args = info[0].As<Napi::Object>();
  const uint32_t seed = args.Get("seed").ToNumber().Uint32Value();
  const KernelTable* table = nullptr;
  const bool bf16 = args.Get("dtype").IsString() && std::string(args.Get("dtype").ToString()) == "bf16";
  const bool handles = args.Get("handles").ToBoolean();
  const std::shared_ptr<Device> device = handles ? std::shared_ptr<Device>(makeHandleDevice()) : cpu::makeDevice();
  const std::string set = args.Get("set").ToString();
  check(env, statusOf(device->kernels(set.c_str(), bf16 ? DType::BF16 : DType::F32, &table)));
  ThreadPool pool(args.Get("threads").ToNumber().Int32Value());
  const std::unique_ptr<Queue> queue(device->openQueue(pool));
  const RandomGraph random = randomGraph(seed);
  WeightStore weights(device);
  check(env, fillWeights(random.graph, *table, seed, *queue, &weights));

  CompileRequest request;
  request.inputs = random.inputs;
  request.outputs = {random.graph.outputs[0]};
  if (args.Get("taps").ToBoolean())
    for (const auto& tap : random.graph.taps)  // of which several may name one value
      if (std::find(request.outputs.begin(), request.outputs.end(), tap.second) == request.outputs.end())
        request.outputs.push_back(tap.second);
  request.threads = pool.threads();
  request.fuse = args.Get("fuse").ToBoolean();
  Program program;
  check(env, compile(random.graph, *table, request, &program));

  const uint64_t arenaBytes = program.arenaBytes + program.scratchBytes;
  Guarded arena(handles ? 0 : arenaBytes);  // all NaN at first
  Buffer remote;
  if (handles) {
    remote.allocate(device, arenaBytes);
    queue->fill(remote.data(), 0xff, arenaBytes);
  }
  RunBindings bindings;
  bindings.arena = handles ? remote.data() : arena.data();
  bindings.weights = weights.addresses();
  bindings.poison = args.Get("poison").ToBoolean();
  std::vector<const void*> given;
  for (const auto& data : random.data) given.push_back(data.data());
  std::vector<float*> wanted;
  Napi::Object outputs = Napi::Object::New(env);
  for (const ProgramOutput& output : program.outputs) {
    const Shape& shape = program.shapes[static_cast<size_t>(output.unit)];
    Napi::Float32Array array = Napi::Float32Array::New(env, static_cast<size_t>(shape.count()));
    wanted.push_back(array.Data());
    outputs.Set(random.graph[output.unit].name, array);
  }
  const std::atomic<bool> cancel{args.Get("cancel").ToBoolean()};
  Transfers transfers(device);
  check(env, transfers.bind(random.graph, program, *queue, given, wanted, &bindings));
  check(env, execute(program, *table, bindings, *queue, cancel));
  check(env, transfers.collect(program, *queue, wanted, bindings));
  if (!arena.intact()) throw Napi::Error::New(env, "a kernel wrote outside the arena");

  Napi::Array lifetimes = Napi::Array::New(env, program.values.size());
  for (size_t i = 0; i < program.values.size(); i++)
    lifetimes.Set(static_cast<uint32_t>(i), lifetimeObject(env, program.lifetimes[i], program.offsets[i]));
  int fused = 0, gated = 0, inPlace = 0;
  for (const Step& step : program.steps) {
    fused += step.result != step.unit ? 1 : 0;
    const LinearArgs* const linear = std::get_if<LinearArgs>(&step.args);
    gated += linear != nullptr && linear->gated ? 1 : 0;
    inPlace += step.inPlace ? 1 : 0;
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("outputs", outputs);
  result.Set("units", static_cast<double>(program.units.size()));
  result.Set("fused", fused);
  result.Set("gated", gated);
  result.Set("inPlace", inPlace);
  result.Set("lifetimes", lifetimes);
  result.Set("arenaBytes", static_cast<double>(program.arenaBytes));
  return result;
}

// deviceCounts() -> { uploads, uploadedBytes, downloads, downloadedBytes, buffers } of devices with handles
Napi::Value deviceCounts(const Napi::CallbackInfo& info) {
  const HandleCounts counts = handleCounts();
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("uploads", static_cast<double>(counts.uploads));
  object.Set("uploadedBytes", static_cast<double>(counts.uploadedBytes));
  object.Set("downloads", static_cast<double>(counts.downloads));
  object.Set("downloadedBytes", static_cast<double>(counts.downloadedBytes));
  object.Set("buffers", static_cast<double>(counts.buffers));
  return object;
}

}  // namespace

void addGraphTests(Napi::Env env, Napi::Object exports) {
  exports.Set("reach", Napi::Function::New(env, runReach));
  exports.Set("deviceCounts", Napi::Function::New(env, deviceCounts));
  exports.Set("place", Napi::Function::New(env, runPlace));
  exports.Set("convert", Napi::Function::New(env, runConvert));
  exports.Set("randomGraph", Napi::Function::New(env, runRandomGraph));
}

}  // namespace asdm::testing

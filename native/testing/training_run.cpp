// A UNet's training for tests.
#include <algorithm>

#include "cpu/device.h"
#include "runtime/trainer.h"
#include "testing/handle_device.h"
#include "testing/op_runner.h"

namespace asdm::testing {

namespace {

void check(Napi::Env env, const Status& status) {
  if (!status.ok()) throw Napi::Error::New(env, status.message);
}

int64_t integer(const Napi::Object& object, const char* name) { return object.Get(name).ToNumber().Int64Value(); }

template <class T, class Read>
std::vector<T> listOf(const Napi::Value& value, const Read& read) {
  std::vector<T> list;
  if (!value.IsArray()) return list;
  const Napi::Array array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); i++) list.push_back(read(array.Get(i)));
  return list;
}
std::vector<int64_t> integers(const Napi::Value& value) {
  return listOf<int64_t>(value, [](const Napi::Value& each) { return each.ToNumber().Int64Value(); });
}
std::vector<bool> booleans(const Napi::Value& value) {
  return listOf<bool>(value, [](const Napi::Value& each) { return each.ToBoolean().Value(); });
}
std::vector<std::string> texts(const Napi::Value& value) {
  return listOf<std::string>(value, [](const Napi::Value& each) { return std::string(each.ToString()); });
}

// lib/native/configs.ts
UNetConfig configOf(const Napi::Object& from) {
  UNetConfig c;
  c.inChannels = integer(from, "inChannels");
  c.outChannels = integer(from, "outChannels");
  c.blockOutChannels = integers(from.Get("blockOutChannels"));
  c.downCrossAttention = booleans(from.Get("downCrossAttention"));
  c.upCrossAttention = booleans(from.Get("upCrossAttention"));
  c.layersPerBlock = integers(from.Get("layersPerBlock"));
  c.transformerLayersPerBlock = integers(from.Get("transformerLayersPerBlock"));
  c.attentionHeads = integers(from.Get("attentionHeads"));
  c.crossAttentionDim = integer(from, "crossAttentionDim");
  c.hasMidBlock = from.Get("hasMidBlock").ToBoolean();
  c.normNumGroups = integer(from, "normNumGroups");
  c.normEps = from.Get("normEps").ToNumber().DoubleValue();
  c.useLinearProjection = from.Get("useLinearProjection").ToBoolean();
  c.onlyCrossAttention = booleans(from.Get("onlyCrossAttention"));
  c.downsamplePadding = integer(from, "downsamplePadding");
  c.flipSinToCos = from.Get("flipSinToCos").ToBoolean();
  c.freqShift = from.Get("freqShift").ToNumber().DoubleValue();
  c.removed = texts(from.Get("removed"));
  c.conditional = listOf<ConditionalConv>(from.Get("conditional"), [](const Napi::Value& each) {
    const Napi::Object o = each.As<Napi::Object>();
    return ConditionalConv{o.Get("prefix").ToString(), integer(o, "experts"), o.Get("router").ToString()};
  });
  return c;
}

Napi::Float32Array toArray(Napi::Env env, const float* values, size_t count) {
  Napi::Float32Array array = Napi::Float32Array::New(env, count);
  std::memcpy(array.Data(), values, count * sizeof(float));
  return array;
}

Shape shapeOf(const std::vector<int64_t>& dims) {
  Shape shape;
  for (int64_t d : dims) shape[shape.rank++] = d;
  if (shape.rank == 4) return {dims[0], dims[2], dims[3], dims[1]};  // feature maps come in PyTorch's order
  return shape;
}

// trainingRun({ config, set, threads, handles: on a device whose memory the host cannot address, weights: { name: Float32Array }, batches: [{ inputs: [{ data, shape }] of the UNet, target: { data, shape },
// weight: of each sample, taps: [target] }], taps: [{ name, cosine? }], trained: prefixes, none for all, text: the text features' gradient too, steps, rate,
// beta1, beta2, eps, decay, clip, keep }) -> { losses: [[of each term's samples] of each step's batches], text, gradients: { name: Float32Array } of the
// last step before its update, norms: [of each step], weights, first, second, average: { name: Float32Array }, bytes }
// Each step accumulates all batches. Where steps is 0 the gradients are computed once and no update is made.
Napi::Value trainingRun(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object args = info[0].As<Napi::Object>();
  const KernelTable* table = nullptr;
  const std::shared_ptr<Device> device = args.Get("handles").ToBoolean() ? std::shared_ptr<Device>(makeHandleDevice()) : cpu::makeDevice();
  const std::string set = args.Get("set").ToString();
  check(env, statusOf(device->kernels(set.c_str(), DType::F32, &table)));
  ThreadPool pool(args.Get("threads").ToNumber().Int32Value());
  const std::unique_ptr<Queue> queue(device->openQueue(pool));
  Graph graph;
  check(env, buildUNet(configOf(args.Get("config").As<Napi::Object>()), &graph));
  std::vector<LossTerm> terms{{graph.outputs[0], "loss", Loss::SquaredError}};
  for (const Napi::Object& tap : listOf<Napi::Object>(args.Get("taps"), [](const Napi::Value& each) { return each.As<Napi::Object>(); })) {
    const std::string name = tap.Get("name").ToString();
    const auto found = graph.taps.find(name);
    if (found == graph.taps.end()) throw Napi::Error::New(env, "no tap " + name);
    terms.push_back({found->second, "loss." + name, tap.Get("cosine").ToBoolean() ? Loss::Cosine : Loss::SquaredError});
  }
  const bool text = args.Get("text").ToBoolean();
  TrainerOptions options;
  options.trained = texts(args.Get("trained"));
  if (text) options.inputs = {graph.inputs[2]};
  options.average = true;
  Trainer trainer(device, *queue);
  check(env, trainer.build(std::move(graph), *table, terms, options));
  check(env, trainer.allocate());
  const WeightId count = static_cast<WeightId>(trainer.graph().weights.size());
  const Napi::Object tensors = args.Get("weights").As<Napi::Object>();
  for (WeightId id = 0; id < count; id++) {
    const WeightRef& weight = trainer.graph().weights[static_cast<size_t>(id)];
    for (size_t part = 0; part < weight.parts.size(); part++) {
      const Napi::Float32Array values = tensors.Get(weight.parts[part].name).As<Napi::Float32Array>();
      if (static_cast<int64_t>(values.ElementLength()) != weight.parts[part].rows * weight.rowWidth())
        throw Napi::Error::New(env, "wrong size of " + weight.parts[part].name);
      trainer.write(Trainer::Kind::Weight, id, part, 0, weight.parts[part].rows, DType::F32, values.Data());
    }
  }
  check(env, trainer.startAverage());

  std::vector<std::vector<Trainer::Given>> batches;
  std::vector<Napi::Float32Array> held;
  const auto give = [&](const Napi::Value& tensor) {
    const Napi::Object o = tensor.As<Napi::Object>();
    held.push_back(o.Get("data").As<Napi::Float32Array>());
    return Trainer::Given{held.back().Data(), shapeOf(integers(o.Get("shape")))};
  };
  for (const Napi::Object& batch :
       listOf<Napi::Object>(args.Get("batches"), [](const Napi::Value& each) { return each.As<Napi::Object>(); })) {
    std::vector<Trainer::Given> given = listOf<Trainer::Given>(batch.Get("inputs"), give);
    held.push_back(batch.Get("weight").As<Napi::Float32Array>());
    const Trainer::Given weight{held.back().Data(), Shape{static_cast<int64_t>(held.back().ElementLength())}};
    given.push_back(give(batch.Get("target")));
    given.push_back(weight);
    for (const Trainer::Given& target : listOf<Trainer::Given>(batch.Get("taps"), give)) {
      given.push_back(target);
      given.push_back(weight);
    }
    batches.push_back(std::move(given));
  }

  const auto byName = [&](Trainer::Kind kind) {
    Napi::Object object = Napi::Object::New(env);
    for (WeightId id = 0; id < count; id++) {
      const WeightRef& weight = trainer.graph().weights[static_cast<size_t>(id)];
      for (size_t part = 0; part < weight.parts.size() && (kind == Trainer::Kind::Weight || trainer.trains(id)); part++) {
        std::vector<float> values(static_cast<size_t>(weight.parts[part].rows * weight.rowWidth()));
        check(env, trainer.read(kind, id, part, 0, weight.parts[part].rows, values.data()));
        object.Set(weight.parts[part].name, toArray(env, values.data(), values.size()));
      }
    }
    return object;
  };
  const auto number = [&](const char* name) { return args.Get(name).ToNumber().FloatValue(); };
  const int64_t steps = integer(args, "steps");
  const std::atomic<bool> cancel{false};
  Napi::Object result = Napi::Object::New(env);
  Napi::Array losses = Napi::Array::New(env), norms = Napi::Array::New(env);
  for (int64_t step = 0; step < std::max<int64_t>(steps, 1); step++) {
    Napi::Array ofStep = Napi::Array::New(env);
    for (const std::vector<Trainer::Given>& batch : batches) {
      std::vector<std::vector<float>> outputs;
      check(env, trainer.accumulate(batch, cancel, &outputs));
      Napi::Array ofBatch = Napi::Array::New(env);
      for (size_t i = 0; i < terms.size(); i++) ofBatch.Set(static_cast<uint32_t>(i), toArray(env, outputs[i].data(), outputs[i].size()));
      ofStep.Set(ofStep.Length(), ofBatch);
      if (text) result.Set("text", toArray(env, outputs.back().data(), outputs.back().size()));
    }
    losses.Set(static_cast<uint32_t>(step), ofStep);
    if (step + 1 >= steps) result.Set("gradients", byName(Trainer::Kind::Gradient));
    if (steps == 0) break;
    UpdateOptions update;
    update.rate = number("rate");
    update.beta1 = number("beta1");
    update.beta2 = number("beta2");
    update.eps = number("eps");
    update.decay = number("decay");
    update.clip = args.Get("clip").ToNumber().DoubleValue();
    update.keep = number("keep");
    double norm = 0;
    check(env, trainer.update(update, cancel, &norm));
    norms.Set(static_cast<uint32_t>(step), norm);
  }
  result.Set("losses", losses);
  result.Set("norms", norms);
  result.Set("weights", byName(Trainer::Kind::Weight));
  result.Set("first", byName(Trainer::Kind::First));
  result.Set("second", byName(Trainer::Kind::Second));
  result.Set("average", byName(Trainer::Kind::Average));
  result.Set("bytes", static_cast<double>(trainer.bytes()));
  return result;
}

}  // namespace

void addTrainingRun(Napi::Env env, Napi::Object exports) { exports.Set("trainingRun", Napi::Function::New(env, trainingRun)); }

}  // namespace asdm::testing

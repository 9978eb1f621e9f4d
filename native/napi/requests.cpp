#include "napi/requests.h"

#include <limits>

namespace asdm::napi {

namespace {

constexpr int64_t kMostInt = std::numeric_limits<int32_t>::max();
constexpr size_t kNameBytes = 1024, kPathBytes = 32768, kStages = 64, kTaps = 65536, kSources = 1 << 20;

DType storedDType(const Value& value) {
  const std::string name = value.text(kNameBytes);
  if (name == "F32") return DType::F32;
  if (name == "F16") return DType::F16;
  if (name == "BF16") return DType::BF16;
  value.as(Code::TensorDtype).fail("F32, F16 or BF16");
}

}  // namespace

ModelOptions modelOptions(const Value& value) {
  ModelOptions options;
  const Value dtype = value["dtype"];
  if (dtype.text(kNameBytes) != "fp32") dtype.fail("fp32");
  options.dtype = DType::F32;
  options.threads = static_cast<int>(value["threads"].integer(1, 256));
  options.cpu = value["cpu"].text(kNameBytes);
  return options;
}

std::vector<WeightSource> weightSources(const Value& value) {
  std::vector<WeightSource> sources;
  for (const Value& item : value.list(kSources)) {
    WeightSource source;
    source.name = item["name"].text(kNameBytes);
    source.file = item["file"].text(kPathBytes);
    source.dtype = storedDType(item["dtype"]);
    source.shape = item["shape"].integers(0, kMostInt, 8);
    source.begin = static_cast<uint64_t>(item["begin"].integer(0, int64_t{1} << 53));
    source.end = static_cast<uint64_t>(item["end"].integer(0, int64_t{1} << 53));
    sources.push_back(std::move(source));
  }
  return sources;
}

ForwardShape forwardShape(const Value& value) {
  const Value height = value["height"], width = value["width"], length = value["length"];
  ForwardShape shape;
  shape.batch = value["batch"].integer(1, kMostInt);
  if (!height.missing()) shape.height = height.integer(1, kMostInt);
  if (!width.missing()) shape.width = width.integer(1, kMostInt);
  if (!length.missing()) shape.length = length.integer(1, kMostInt);
  return shape;
}

std::vector<std::string> tapList(const Value& value) {
  return value.missing() ? std::vector<std::string>() : value.texts(kNameBytes, kTaps);
}

ForwardInputs forwardInputs(const Value& value, ModelKind kind) {
  ForwardInputs inputs;
  inputs.taps = tapList(value["taps"]);
  if (kind == ModelKind::TextEncoder) {
    inputs.batch = value["batch"].integer(1, kMostInt);
    const Value clipSkip = value["clipSkip"];
    if (!clipSkip.missing()) inputs.clipSkip = static_cast<int>(clipSkip.integer(0, kMostInt));
    inputs.ids = value["ids"].ints();
    return inputs;
  }
  inputs.sample = value["sample"].tensor();
  if (kind == ModelKind::UNet) {
    inputs.timesteps = value["timesteps"].floats();
    inputs.encoderHiddenStates = value["encoderHiddenStates"].tensor();
  }
  return inputs;
}

}  // namespace asdm::napi

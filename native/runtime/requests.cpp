#include "runtime/requests.h"

#include <cmath>

namespace asdm {

namespace {

// Beyond what any machine computes, within what 64-bit arithmetic on sizes stands (ops/shapes.cpp bounds their products).
constexpr int64_t kMaxBatch = 1 << 16, kMaxSide = 1 << 20, kMaxLength = 1 << 20;

Status sizeFrom(const char* what, int64_t value, int64_t most) {
  if (value >= 1 && value <= most) return Status::good();
  return {Code::ShapeMismatch, std::string("Expected ") + what + " from 1 to " + std::to_string(most) + " but received " +
                                   std::to_string(value)};
}

std::string text(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); i++) out += (i ? "," : "") + std::to_string(shape[i]);
  return out + "]";
}

// `pattern` tells the caller what was expected; the numbers to hold against it are in `wanted`, -1 for any.
Status checkTensor(const char* name, const std::string& pattern, const std::vector<int64_t>& wanted, const HostTensor& tensor) {
  bool fits = tensor.shape.size() == wanted.size();
  double count = 1;
  for (size_t i = 0; fits && i < wanted.size(); i++) {
    fits = tensor.shape[i] >= 1 && (wanted[i] < 0 || tensor.shape[i] == wanted[i]);
    count *= static_cast<double>(tensor.shape[i]);
  }
  if (!fits)
    return {Code::ShapeMismatch, std::string("Expected ") + name + " of shape " + pattern + " but received " + text(tensor.shape)};
  if (count != static_cast<double>(tensor.data.size()))
    return {Code::ShapeMismatch, std::string("Expected ") + name + " of shape " + text(tensor.shape) + " to hold as many numbers but received " +
                                     std::to_string(tensor.data.size())};
  return Status::good();
}

int64_t sampleChannels(const ModelSpec& spec) {
  switch (spec.kind) {
    case ModelKind::UNet: return spec.unet.inChannels;
    case ModelKind::VAEDecoder: return spec.vae.latentChannels;
    case ModelKind::VAEEncoder: return spec.vae.inChannels;
    case ModelKind::TextEncoder: break;
  }
  return 0;
}

Status checkIds(const TextEncoderConfig& c, const ForwardInputs& inputs, ForwardShape* shape) {
  const int64_t count = static_cast<int64_t>(inputs.ids.size());
  ASDM_TRY(sizeFrom("batch", inputs.batch, kMaxBatch));
  if (count == 0 || count % inputs.batch != 0)
    return {Code::ShapeMismatch, "Expected ids for each of " + std::to_string(inputs.batch) + " texts but received " +
                                     std::to_string(count)};
  shape->batch = inputs.batch;
  shape->length = count / inputs.batch;
  if (shape->length > c.maxPositionEmbeddings)
    return {Code::ShapeMismatch, "Expected at most " + std::to_string(c.maxPositionEmbeddings) + " ids per text but received " +
                                     std::to_string(shape->length)};
  for (int64_t i = 0; i < count; i++) {
    const int32_t id = inputs.ids[static_cast<size_t>(i)];
    if (id < 0 || id >= c.vocabSize)
      return {Code::InvalidArgument, "Expected ids from 0 to " + std::to_string(c.vocabSize - 1) + " but received " +
                                         std::to_string(id) + " at position " + std::to_string(i)};
  }
  if (inputs.clipSkip < 0 || inputs.clipSkip > c.numHiddenLayers)
    return {Code::InvalidArgument, "Expected clipSkip from 0 to " + std::to_string(c.numHiddenLayers) + " but received " +
                                       std::to_string(inputs.clipSkip)};
  return Status::good();
}

// An input of a UNet besides sample and timesteps: its name in the graph, and in JavaScript.
struct Condition {
  const char *name, *shown;
  bool perToken;
  int64_t width;
};

// In the order of the graph's inputs.
std::vector<Condition> conditionsOf(const UNetConfig& c) {
  std::vector<Condition> all{{"encoder_hidden_states", "encoderHiddenStates", true, c.crossAttentionDim}};
  if (c.timeCondDim > 0) all.push_back({"timestep_cond", "timestepCond", false, c.timeCondDim});
  return all;
}

Status checkConditions(const UNetConfig& c, const ForwardInputs& inputs, ForwardShape* shape) {
  if (static_cast<int64_t>(inputs.timesteps.size()) != shape->batch)
    return {Code::ShapeMismatch, "Expected one timestep for each of " + std::to_string(shape->batch) + " samples but received " +
                                     std::to_string(inputs.timesteps.size())};
  for (float t : inputs.timesteps)
    if (!std::isfinite(t)) return {Code::InvalidArgument, "Expected finite timesteps but received " + std::to_string(t)};
  for (const Condition& condition : conditionsOf(c)) {
    const auto found = inputs.conditions.find(condition.name);
    if (found == inputs.conditions.end())
      return {Code::InvalidArgument, std::string("Expected ") + condition.shown + " for this UNet but received none"};
    std::vector<int64_t> wanted{shape->batch};
    std::string pattern = "[" + std::to_string(shape->batch);
    if (condition.perToken) {
      wanted.push_back(-1);
      pattern += ",L";
    }
    wanted.push_back(condition.width);
    ASDM_TRY(checkTensor(condition.shown, pattern + "," + std::to_string(condition.width) + "]", wanted, found->second));
    if (condition.perToken) shape->length = found->second.shape[1];
  }
  return Status::good();
}

}  // namespace

Status graphInputs(const ModelSpec& spec, const ForwardShape& shape, std::vector<Shape>* shapes) {
  const int64_t n = shape.batch;
  ASDM_TRY(sizeFrom("batch", n, kMaxBatch));
  if (spec.kind == ModelKind::TextEncoder) {
    const int64_t length = shape.length == 0 ? spec.textEncoder.maxPositionEmbeddings : shape.length;
    ASDM_TRY(sizeFrom("length", length, kMaxLength));
    *shapes = {Shape{n, length}};
    return Status::good();
  }
  ASDM_TRY(sizeFrom("height", shape.height, kMaxSide));
  ASDM_TRY(sizeFrom("width", shape.width, kMaxSide));
  *shapes = {Shape{n, shape.height, shape.width, sampleChannels(spec)}};
  if (spec.kind == ModelKind::UNet) {
    const int64_t length = shape.length == 0 ? 77 : shape.length;  // CLIP's window
    ASDM_TRY(sizeFrom("length", length, kMaxLength));
    shapes->push_back(Shape{n});
    for (const Condition& condition : conditionsOf(spec.unet))
      shapes->push_back(condition.perToken ? Shape{n, length, condition.width} : Shape{n, condition.width});
  }
  return Status::good();
}

Status checkInputs(const ModelSpec& spec, const ForwardInputs& inputs, ForwardShape* shape) {
  if (spec.kind == ModelKind::TextEncoder) return checkIds(spec.textEncoder, inputs, shape);
  const int64_t channels = sampleChannels(spec);
  ASDM_TRY(checkTensor("sample", "[N," + std::to_string(channels) + ",H,W]", {-1, channels, -1, -1}, inputs.sample));
  shape->batch = inputs.sample.shape[0];
  shape->height = inputs.sample.shape[2];
  shape->width = inputs.sample.shape[3];
  if (spec.kind == ModelKind::UNet) return checkConditions(spec.unet, inputs, shape);
  return Status::good();
}

Status findTaps(const Graph& graph, const std::vector<std::string>& names, std::vector<UnitId>* ids) {
  for (const std::string& name : names) {
    const auto found = graph.taps.find(name);
    if (found == graph.taps.end())
      return {Code::InvalidArgument, "Expected taps to be names of this model's modules, such as \"" +
                                         (graph.taps.empty() ? "" : graph.taps.begin()->first) + "\", but received \"" +
                                         name.substr(0, 120) + "\""};
    ids->push_back(found->second);
  }
  return Status::good();
}

}  // namespace asdm

#include "napi/requests.h"

#include <algorithm>
#include <limits>

namespace asdm::napi {

namespace {

constexpr int64_t kMostInt = std::numeric_limits<int32_t>::max();
constexpr size_t kNameBytes = 1024, kPathBytes = 32768, kStages = 64, kTaps = 65536, kSources = 1 << 20, kProducts = 1024, kInputs = 64,
                 kRemoved = 4096, kExact = 4096;
// A run has at most as many steps as models are trained with, and some that samplers add; a step inherits at most what a large UNet has of units.
constexpr double kMostExtrapolation = 2;
constexpr size_t kRunSteps = 2000, kInherits = 4096, kProbes = 16, kMaps = 1024;

StoredType storedType(const Value& value) {
  const std::string name = value.text(kNameBytes);
  if (name == "F32") return StoredType::F32;
  if (name == "F16") return StoredType::F16;
  if (name == "BF16") return StoredType::BF16;
  if (name == "F64") return StoredType::F64;
  if (name == "F8_E4M3") return StoredType::F8E4M3;
  if (name == "F8_E5M2") return StoredType::F8E5M2;
  value.as(Code::TensorDtype).fail("F32, F16, BF16, F64, F8_E4M3 or F8_E5M2");
}

UNetConfig unetConfig(const Value& value) {
  UNetConfig c;
  c.inChannels = value["inChannels"].integer(0, kMostInt);
  c.outChannels = value["outChannels"].integer(0, kMostInt);
  c.sampleSize = value["sampleSize"].integer(0, kMostInt);
  c.blockOutChannels = value["blockOutChannels"].integers(0, kMostInt, kStages);
  c.downCrossAttention = value["downCrossAttention"].booleans(kStages);
  c.upCrossAttention = value["upCrossAttention"].booleans(kStages);
  c.layersPerBlock = value["layersPerBlock"].integers(0, kMostInt, kStages);
  c.transformerLayersPerBlock = value["transformerLayersPerBlock"].integers(0, kMostInt, kStages);
  c.attentionHeads = value["attentionHeads"].integers(0, kMostInt, kStages);
  c.crossAttentionDim = value["crossAttentionDim"].integer(0, kMostInt);
  c.hasMidBlock = value["hasMidBlock"].boolean();
  c.normNumGroups = value["normNumGroups"].integer(0, kMostInt);
  c.normEps = value["normEps"].finite();
  c.useLinearProjection = value["useLinearProjection"].boolean();
  c.onlyCrossAttention = value["onlyCrossAttention"].booleans(kStages);
  c.downsamplePadding = value["downsamplePadding"].integer(0, kMostInt);
  c.flipSinToCos = value["flipSinToCos"].boolean();
  c.freqShift = value["freqShift"].finite();
  const Value timeCondDim = value["timeCondDim"];
  if (!timeCondDim.missing()) c.timeCondDim = timeCondDim.integer(1, kMostInt);
  const Value additionDim = value["additionDim"];
  if (!additionDim.missing()) c.additionDim = additionDim.integer(1, kMostInt);
  const Value removed = value["removed"];
  if (!removed.missing()) c.removed = removed.texts(kNameBytes, kRemoved);
  const Value conditional = value["conditional"];
  if (!conditional.missing())
    for (const Value& conv : conditional.list(kRemoved))
      c.conditional.push_back({conv["prefix"].text(kNameBytes), conv["experts"].integer(0, kMostInt), conv["router"].text(kNameBytes)});
  return c;
}

VAEConfig vaeConfig(const Value& value) {
  VAEConfig c;
  c.inChannels = value["inChannels"].integer(0, kMostInt);
  c.outChannels = value["outChannels"].integer(0, kMostInt);
  c.latentChannels = value["latentChannels"].integer(0, kMostInt);
  c.blockOutChannels = value["blockOutChannels"].integers(0, kMostInt, kStages);
  c.layersPerBlock = value["layersPerBlock"].integer(0, kMostInt);
  c.normNumGroups = value["normNumGroups"].integer(0, kMostInt);
  c.useQuantConv = value["useQuantConv"].boolean();
  c.usePostQuantConv = value["usePostQuantConv"].boolean();
  c.midBlockAddAttention = value["midBlockAddAttention"].boolean();
  c.scalingFactor = value["scalingFactor"].finite();
  c.shiftFactor = value["shiftFactor"].finite();
  const Value tiny = value["tiny"];
  if (!tiny.missing()) {
    c.tinyEncoderBlocks = tiny["encoderBlocks"].integers(0, kMostInt, kStages);
    c.tinyDecoderBlocks = tiny["decoderBlocks"].integers(0, kMostInt, kStages);
    c.tinyEncoderWidth = tiny["encoderWidth"].integer(0, kMostInt);
  }
  return c;
}

TextEncoderConfig textEncoderConfig(const Value& value) {
  TextEncoderConfig c;
  c.vocabSize = value["vocabSize"].integer(0, kMostInt);
  c.hiddenSize = value["hiddenSize"].integer(0, kMostInt);
  c.intermediateSize = value["intermediateSize"].integer(0, kMostInt);
  c.numHiddenLayers = value["numHiddenLayers"].integer(0, kMostInt);
  c.numAttentionHeads = value["numAttentionHeads"].integer(0, kMostInt);
  c.maxPositionEmbeddings = value["maxPositionEmbeddings"].integer(0, kMostInt);
  c.hiddenAct = value["hiddenAct"].text(kNameBytes);
  c.layerNormEps = value["layerNormEps"].finite();
  return c;
}

}  // namespace

ModelSpec modelSpec(const Value& value) {
  const Value kind = value["kind"];
  const std::string name = kind.text(kNameBytes);
  // graph/ says "config.inChannels" too: the config's fields are called the same wherever they are found wrong.
  const Value config = value["config"].as(Code::BadConfig).named("config");
  ModelSpec spec;
  if (name == "unet") {
    spec.kind = ModelKind::UNet;
    spec.unet = unetConfig(config);
  } else if (name == "vae_decoder" || name == "vae_encoder") {
    spec.kind = name == "vae_decoder" ? ModelKind::VAEDecoder : ModelKind::VAEEncoder;
    spec.vae = vaeConfig(config);
  } else if (name == "text_encoder") {
    spec.kind = ModelKind::TextEncoder;
    spec.textEncoder = textEncoderConfig(config);
  } else {
    kind.fail("unet, vae_decoder, vae_encoder or text_encoder");
  }
  return spec;
}

ModelOptions modelOptions(const Value& value) {
  ModelOptions options;
  const Value dtype = value["dtype"];
  const std::string format = dtype.text(kNameBytes);
  if (format != "fp32" && format != "bf16" && format != "int8") dtype.fail("fp32, bf16 or int8");
  options.dtype = format == "int8" ? DType::I8 : format == "bf16" ? DType::BF16 : DType::F32;
  options.cpu = value["cpu"].text(kNameBytes);
  const Value device = value["device"], exact = value["exact"];
  if (!device.missing()) options.device = device.text(kNameBytes);
  if (!exact.missing()) options.exact = exact.texts(kNameBytes, kExact);
  const Value wide = value["wide"];
  if (!wide.missing()) options.wide = wide.texts(kNameBytes, kExact);
  return options;
}

int threadCount(const Value& value) { return static_cast<int>(value["threads"].integer(1, 256)); }

std::string cachePath(const Value& value) { return value.missing() ? "" : value.text(kPathBytes); }

namespace {

StoredNumbers storedNumbers(const Value& value) {
  StoredNumbers numbers;
  numbers.file = value["file"].text(kPathBytes);
  numbers.dtype = storedType(value["dtype"]);
  numbers.begin = static_cast<uint64_t>(value["begin"].integer(0, int64_t{1} << 53));
  numbers.end = static_cast<uint64_t>(value["end"].integer(0, int64_t{1} << 53));
  return numbers;
}

}  // namespace

std::vector<WeightSource> weightSources(const Value& value) {
  std::vector<WeightSource> sources;
  for (const Value& item : value.list(kSources)) {
    WeightSource source;
    source.name = item["name"].text(kNameBytes);
    source.file = item["file"].text(kPathBytes);
    source.dtype = storedType(item["dtype"]);
    source.shape = item["shape"].integers(0, kMostInt, 8);
    source.begin = static_cast<uint64_t>(item["begin"].integer(0, int64_t{1} << 53));
    source.end = static_cast<uint64_t>(item["end"].integer(0, int64_t{1} << 53));
    const Value products = item["products"];
    if (!products.missing())
      for (const Value& each : products.list(kProducts))
        source.products.push_back(
            {storedNumbers(each["up"]), storedNumbers(each["down"]), each["rank"].integer(1, kMostInt), each["scale"].finite()});
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

namespace {

Inherit inheritOf(const Value& entry) {
  Inherit inherit;
  inherit.prefix = entry["prefix"].text(kNameBytes);
  const Value feature = entry["feature"];
  const std::string kind = feature.text(kNameBytes);
  if (kind != "branch" && kind != "output") feature.fail("branch or output");
  inherit.branch = kind == "branch";
  return inherit;
}

std::vector<Inherit> inheritList(const Value& value) {
  std::vector<Inherit> list;
  for (const Value& entry : value.list(kInherits)) list.push_back(inheritOf(entry));
  return list;
}

size_t unetNumber(const Value& value) {
  return value.missing() ? 0 : static_cast<size_t>(value.integer(0, static_cast<int64_t>(kRunUNets) - 1));
}

}  // namespace

RunSpec runSpec(const Value& steps, const Value& more) {
  RunSpec spec;
  for (const Value& item : steps.list(kRunSteps)) {
    RunStep step;
    step.conditionalOnly = item["conditionalOnly"].boolean();
    step.inherit = inheritList(item["inherit"]);
    step.unet = unetNumber(item["unet"]);
    const Value choices = item["choices"], probe = item["probe"];
    if (!choices.missing())
      for (const Value& choice : choices.list(kMostChoices)) step.choices.push_back(inheritList(choice));
    step.probe = !probe.missing() && probe.boolean();
    spec.steps.push_back(std::move(step));
  }
  if (more.missing()) return spec;
  const Value probes = more["probes"], maps = more["maps"], extrapolate = more["extrapolate"], computeMissing = more["computeMissing"];
  if (!computeMissing.missing()) spec.computeMissing = computeMissing.boolean();
  if (!extrapolate.missing()) {
    spec.extrapolate = extrapolate.finite();
    if (spec.extrapolate < 0 || spec.extrapolate > kMostExtrapolation) extrapolate.fail("a number from 0 to 2");
  }
  if (!probes.missing())
    for (const Value& list : probes.list(kRunUNets)) {
      spec.probes.emplace_back();
      for (const Value& probe : list.list(kProbes)) spec.probes.back().push_back(inheritOf(probe));
    }
  if (!maps.missing())
    for (const Value& item : maps.list(kMaps)) {
      const Value from = item["from"], to = item["to"], number = item["number"];
      RunMap map{unetNumber(from["unet"]), unetNumber(to["unet"]), inheritOf(from), inheritOf(to), spec.maps.size()};
      if (!number.missing()) map.number = static_cast<size_t>(number.integer(0, static_cast<int64_t>(kMaps)));
      spec.maps.push_back(std::move(map));
    }
  return spec;
}

std::vector<size_t> probeNumbers(const Value& value) {
  std::vector<size_t> numbers;
  for (int64_t number : value.integers(0, static_cast<int64_t>(kProbes) - 1, kProbes)) numbers.push_back(static_cast<size_t>(number));
  return numbers;
}

std::vector<std::string> inputNames(const Graph& graph) {
  std::vector<std::string> names;
  for (UnitId id : graph.inputs) names.push_back(graph[id].name);
  return names;
}

HostInputs hostInputs(const Value& value, const std::vector<std::string>& names, std::vector<LargeInput>* large) {
  HostInputs inputs;
  for (const std::string& name : value.keys(kNameBytes, kInputs)) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      std::string known;
      for (const std::string& each : names) known += (known.empty() ? "" : ", ") + each;
      throw Failure{{Code::InvalidArgument, "Expected " + value.name() + " to name inputs of the graph (" + known + ") but received \"" +
                                                name.substr(0, 120) + "\""}};
    }
    inputs[name] = value[name.c_str()].input(large);
  }
  return inputs;
}

ForwardInputs forwardInputs(const Value& value, const std::vector<std::string>& names, std::vector<LargeInput>* large) {
  ForwardInputs inputs;
  const Value taps = value["taps"], profile = value["profile"], clipSkip = value["clipSkip"];
  inputs.taps = tapList(taps);
  if (!profile.missing()) inputs.profile = profile.boolean();
  if (!clipSkip.missing()) inputs.clipSkip = static_cast<int>(clipSkip.integer(0, kMostInt));
  inputs.values = hostInputs(value["values"], names, large);
  return inputs;
}

}  // namespace asdm::napi

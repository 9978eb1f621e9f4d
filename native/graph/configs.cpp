#include "graph/configs.h"

#include <cmath>

namespace asdm {

namespace {

// The ranges are those of lib/model/*-config.ts. Together they keep every product of a weight's dimensions below 2^44, 2^48 with experts.
constexpr int64_t kMaxWidth = 16384, kMaxChannels = 256, kMaxStages = 8, kMaxLayers = 16, kMaxTransformerLayers = 32;
constexpr int64_t kMaxHeads = 1024, kMaxFeatureWidth = 65536;
constexpr int64_t kMaxHeadDim = 1024;           // backend/arguments.h, AttentionArgs
constexpr int64_t kMaxRemoved = 1024, kMaxConditional = 1024, kMaxExperts = 16;
constexpr int64_t kMaxTransformerBlocks = 512;  // SD 2.1 has 16; keeps compilation of a hostile config quick

Status inRange(const char* field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return Status::good();
  return {Code::BadConfig, std::string("Expected config.") + field + " to be from " + std::to_string(low) + " to " + std::to_string(high) +
                               " but received " + std::to_string(value)};
}

Status inRange(const char* field, double value, double low, double high) {
  if (std::isfinite(value) && value >= low && value <= high) return Status::good();
  return {Code::BadConfig, std::string("Expected config.") + field + " to be from " + std::to_string(low) + " to " + std::to_string(high) +
                               " but received " + std::to_string(value)};
}

Status inRange(const char* field, const std::vector<int64_t>& values, int64_t low, int64_t high) {
  for (int64_t value : values) ASDM_TRY(inRange(field, value, low, high));
  return Status::good();
}

template <class T>
Status oneEach(const char* field, const std::vector<T>& values, size_t stages) {
  if (values.size() == stages) return Status::good();
  return {Code::BadConfig, std::string("Expected config.") + field + " to have " + std::to_string(stages) +
                               " entries, one for each stage, but received " + std::to_string(values.size())};
}

Status divides(const char* divisorField, int64_t divisor, const char* field, int64_t value) {
  if (value % divisor == 0) return Status::good();
  return {Code::BadConfig, std::string("Expected config.") + divisorField + " to divide " + field + " " + std::to_string(value) +
                               " but received " + std::to_string(divisor)};
}

Status headWidth(const char* field, int64_t width, int64_t heads) {
  ASDM_TRY(inRange(field, heads, 1, kMaxHeads));
  ASDM_TRY(divides(field, heads, "the width", width));
  if (width / heads <= kMaxHeadDim) return Status::good();
  return {Code::UnsupportedConfig, std::string("Expected attention heads of width ") + std::to_string(kMaxHeadDim) +
                                       " at most but config." + field + " gives " + std::to_string(width / heads)};
}

Status checkStages(const std::vector<int64_t>& widths, int64_t groups) {
  ASDM_TRY(inRange("blockOutChannels.length", static_cast<int64_t>(widths.size()), 1, kMaxStages));
  ASDM_TRY(inRange("blockOutChannels", widths, 1, kMaxWidth));
  ASDM_TRY(inRange("normNumGroups", groups, 1, kMaxWidth));
  for (int64_t width : widths) ASDM_TRY(divides("normNumGroups", groups, "blockOutChannels", width));
  return Status::good();
}

}  // namespace

Status checkConfig(const UNetConfig& c) {
  ASDM_TRY(checkStages(c.blockOutChannels, c.normNumGroups));
  const size_t stages = c.blockOutChannels.size();
  ASDM_TRY(oneEach("downCrossAttention", c.downCrossAttention, stages));
  ASDM_TRY(oneEach("upCrossAttention", c.upCrossAttention, stages));
  ASDM_TRY(oneEach("layersPerBlock", c.layersPerBlock, stages));
  ASDM_TRY(oneEach("transformerLayersPerBlock", c.transformerLayersPerBlock, stages));
  ASDM_TRY(oneEach("attentionHeads", c.attentionHeads, stages));
  ASDM_TRY(oneEach("onlyCrossAttention", c.onlyCrossAttention, stages));
  ASDM_TRY(inRange("inChannels", c.inChannels, 1, kMaxChannels));
  ASDM_TRY(inRange("outChannels", c.outChannels, 1, kMaxChannels));
  ASDM_TRY(inRange("layersPerBlock", c.layersPerBlock, 1, kMaxLayers));
  ASDM_TRY(inRange("transformerLayersPerBlock", c.transformerLayersPerBlock, 1, kMaxTransformerLayers));
  ASDM_TRY(inRange("crossAttentionDim", c.crossAttentionDim, 1, kMaxFeatureWidth));
  ASDM_TRY(inRange("timeCondDim", c.timeCondDim, 0, kMaxFeatureWidth));
  ASDM_TRY(inRange("additionDim", c.additionDim, 0, kMaxFeatureWidth));
  ASDM_TRY(inRange("normEps", c.normEps, 1e-12, 1.0));
  ASDM_TRY(inRange("downsamplePadding", c.downsamplePadding, 0, 1));
  if (c.blockOutChannels[0] % 2 != 0)
    return {Code::UnsupportedConfig,
            "Expected the first of config.blockOutChannels to be even but received " + std::to_string(c.blockOutChannels[0])};
  const double half = static_cast<double>(c.blockOutChannels[0] / 2);
  ASDM_TRY(inRange("freqShift", c.freqShift, 0.0, 1.0));
  if (c.freqShift >= half)
    return {Code::BadConfig, "Expected config.freqShift to be less than half the first width, " + std::to_string(half) + ", but received " +
                                 std::to_string(c.freqShift)};
  ASDM_TRY(inRange("removed.length", static_cast<int64_t>(c.removed.size()), 0, kMaxRemoved));
  ASDM_TRY(inRange("conditional.length", static_cast<int64_t>(c.conditional.size()), 0, kMaxConditional));
  for (const ConditionalConv& conv : c.conditional) {
    ASDM_TRY(inRange("conditional.experts", conv.experts, 1, kMaxExperts));
    if (conv.router != "sigmoid" && conv.router != "softmax")
      return {Code::UnsupportedConfig,
              "Expected config.conditional.router to be sigmoid or softmax but received \"" + conv.router.substr(0, 60) + "\""};
  }
  int64_t blocks = 0;
  for (size_t s = 0; s < stages; s++) {
    const bool down = c.downCrossAttention[s], up = c.upCrossAttention[stages - 1 - s];
    const bool middle = c.hasMidBlock && s + 1 == stages;
    if (down || up || middle) ASDM_TRY(headWidth("attentionHeads", c.blockOutChannels[s], c.attentionHeads[s]));
    const int64_t transformers = (down ? c.layersPerBlock[s] : 0) + (up ? c.layersPerBlock[s] + 1 : 0) + (middle ? 1 : 0);
    blocks += transformers * c.transformerLayersPerBlock[s];
  }
  if (blocks > kMaxTransformerBlocks)
    return {Code::UnsupportedConfig, "Expected at most " + std::to_string(kMaxTransformerBlocks) +
                                         " transformer blocks but config.transformerLayersPerBlock gives " + std::to_string(blocks)};
  return Status::good();
}

Status checkConfig(const VAEConfig& c) {
  ASDM_TRY(checkStages(c.blockOutChannels, c.normNumGroups));
  ASDM_TRY(inRange("inChannels", c.inChannels, 1, kMaxChannels));
  ASDM_TRY(inRange("outChannels", c.outChannels, 1, kMaxChannels));
  ASDM_TRY(inRange("latentChannels", c.latentChannels, 1, kMaxChannels));
  ASDM_TRY(inRange("layersPerBlock", c.layersPerBlock, 1, kMaxLayers));
  if (c.tiny()) {
    ASDM_TRY(oneEach("tiny.encoderBlocks", c.tinyEncoderBlocks, c.blockOutChannels.size()));
    ASDM_TRY(oneEach("tiny.decoderBlocks", c.tinyDecoderBlocks, c.blockOutChannels.size()));
    ASDM_TRY(inRange("tiny.encoderBlocks", c.tinyEncoderBlocks, 0, kMaxLayers));
    ASDM_TRY(inRange("tiny.decoderBlocks", c.tinyDecoderBlocks, 0, kMaxLayers));
    ASDM_TRY(inRange("tiny.encoderWidth", c.tinyEncoderWidth, 1, kMaxWidth));
    ASDM_TRY(inRange("blockOutChannels of one width", c.blockOutChannels, c.blockOutChannels[0], c.blockOutChannels[0]));
    return Status::good();
  }
  if (c.midBlockAddAttention) {
    const int64_t width = c.blockOutChannels.back();  // one head as wide as the block
    if (width > kMaxHeadDim)
      return {Code::UnsupportedConfig, "Expected the last of config.blockOutChannels, the width of the attention head, to be at most " +
                                           std::to_string(kMaxHeadDim) + " but received " + std::to_string(width)};
  }
  return Status::good();
}

Status checkConfig(const TextEncoderConfig& c) {
  ASDM_TRY(inRange("vocabSize", c.vocabSize, 1, 10'000'000));
  ASDM_TRY(inRange("hiddenSize", c.hiddenSize, 1, kMaxFeatureWidth));
  ASDM_TRY(inRange("intermediateSize", c.intermediateSize, 1, kMaxFeatureWidth));
  ASDM_TRY(inRange("numHiddenLayers", c.numHiddenLayers, 1, 256));
  ASDM_TRY(inRange("maxPositionEmbeddings", c.maxPositionEmbeddings, 1, 65536));
  ASDM_TRY(inRange("layerNormEps", c.layerNormEps, 1e-12, 1.0));
  ASDM_TRY(headWidth("numAttentionHeads", c.hiddenSize, c.numAttentionHeads));
  if (c.hiddenAct != "quick_gelu" && c.hiddenAct != "gelu")
    return {Code::UnsupportedConfig,
            "Expected config.hiddenAct to be quick_gelu or gelu but received \"" + c.hiddenAct.substr(0, 60) + "\""};
  return Status::good();
}

}  // namespace asdm

// What the graph builders read: lib/native/configs.ts field by field, and the checks that make a config safe to build from.
// Arrays run from the first (highest-resolution) stage to the last.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/status.h"

namespace asdm {

// A convolution that holds several kernels and mixes them for each sample (CondConv, arXiv 1904.04971).
struct ConditionalConv {
  std::string prefix;   // the convolution's
  int64_t experts = 1;
  std::string router;   // "sigmoid" or "softmax"
};

// diffusers' UNet2DConditionModel.
struct UNetConfig {
  int64_t inChannels = 4;
  int64_t outChannels = 4;
  int64_t sampleSize = 64;                         // a default for the pipeline; the graph takes any size
  std::vector<int64_t> blockOutChannels;
  std::vector<bool> downCrossAttention;            // per stage
  std::vector<bool> upCrossAttention;              // per up block, in running order
  std::vector<int64_t> layersPerBlock;             // ResNets per down block; up blocks have one more
  std::vector<int64_t> transformerLayersPerBlock;  // per stage
  std::vector<int64_t> attentionHeads;             // per stage
  int64_t crossAttentionDim = 768;
  bool hasMidBlock = true;
  int64_t normNumGroups = 32;
  double normEps = 1e-5;
  bool useLinearProjection = false;
  std::vector<bool> onlyCrossAttention;            // per stage
  int64_t downsamplePadding = 1;
  bool flipSinToCos = true;
  double freqShift = 0;
  int64_t timeCondDim = 0;                         // of an embedding of the guidance scale, added to the time step's; 0 for none
  int64_t additionDim = 0;                         // of pooled text and sizes, embedded and added to the time embedding; 0 for none
  // Prefixes of units that the graph leaves out: blocks, layers (`up_blocks.1.1`), resnets, attentions, transformer blocks,
  // attn1, attn2, ff. What is left out hands its input on.
  std::vector<std::string> removed;
  // Convolutions of the graph that hold experts. A transformer's projections count where they are convolutions.
  std::vector<ConditionalConv> conditional;
};

// diffusers' AutoencoderKL, or its AutoencoderTiny; the decoder and the encoder are graphs of their own.
struct VAEConfig {
  int64_t inChannels = 3;
  int64_t outChannels = 3;
  int64_t latentChannels = 4;
  std::vector<int64_t> blockOutChannels;
  int64_t layersPerBlock = 2;
  int64_t normNumGroups = 32;
  bool useQuantConv = true;
  bool usePostQuantConv = true;
  bool midBlockAddAttention = true;
  double scalingFactor = 0.18215;                  // the caller's business, as shiftFactor
  double shiftFactor = 0;
  // Of an AutoencoderTiny, empty else: blocks per stage of the encoder, first the one at full size, and of the decoder, last the one at full
  // size. blockOutChannels is the decoder's one width then, once for each stage, and nothing about norms and attention counts.
  std::vector<int64_t> tinyEncoderBlocks, tinyDecoderBlocks;
  int64_t tinyEncoderWidth = 64;
  bool tiny() const { return !tinyDecoderBlocks.empty() || !tinyEncoderBlocks.empty(); }
};

// transformers' CLIPTextModel.
struct TextEncoderConfig {
  int64_t vocabSize = 49408;
  int64_t hiddenSize = 768;
  int64_t intermediateSize = 3072;
  int64_t numHiddenLayers = 12;
  int64_t numAttentionHeads = 12;
  int64_t maxPositionEmbeddings = 77;
  std::string hiddenAct = "quick_gelu";  // or "gelu"
  double layerNormEps = 1e-5;
};

enum class ModelKind { UNet, VAEDecoder, VAEEncoder, TextEncoder };

// Which graph, and its config; the other configs are not looked at.
struct ModelSpec {
  ModelKind kind = ModelKind::UNet;
  UNetConfig unet;
  VAEConfig vae;
  TextEncoderConfig textEncoder;
};

// Fail with BadConfig (numbers that make no sense) or UnsupportedConfig (beyond what the kernels take), naming the field.
// A config that passes gives a graph of bounded size, whose weight and row counts cannot overflow.
Status checkConfig(const UNetConfig& config);
Status checkConfig(const VAEConfig& config);
Status checkConfig(const TextEncoderConfig& config);

}  // namespace asdm

// Config -> graphs of diffusers' AutoencoderKL (Rombach et al. 2022, section 3.1): its decoder and its encoder.
#include "graph/builder.h"

namespace asdm {

namespace {

constexpr double kNormEps = 1e-6;

UnitId resnet(GraphBuilder& b, const VAEConfig& c, const std::string& name, UnitId x, int64_t in, int64_t out) {
  return buildResnet(b, name, x, {in, out, c.normNumGroups, kNormEps});
}

// Self-attention over all pixels with one head as wide as the block.
UnitId attention(GraphBuilder& b, const VAEConfig& c, const std::string& name, UnitId x, int64_t width) {
  UnitId h = b.groupNorm(name + ".group_norm", x, width, c.normNumGroups, kNormEps, false);
  h = b.fusedLinear(name + ".", {"to_q", "to_k", "to_v"}, "to_qkv", h, width, width, true);
  b.attributes(h).layout = Layout::ToSequence;
  Attributes a;
  a.headDim = width;
  a.kColumn = width;
  a.vColumn = 2 * width;
  h = b.attention(name + ".attention", h, h, h, a);
  h = b.linear(name + ".to_out.0", h, width, width);
  b.attributes(h).layout = Layout::ToMap;
  b.attributes(h).sizeOf = x;
  const UnitId sum = b.add(name + ".add", x, h);
  b.tap(name, sum);
  return sum;
}

UnitId midBlock(GraphBuilder& b, const VAEConfig& c, const std::string& name, UnitId x) {
  const int64_t width = c.blockOutChannels.back();
  x = resnet(b, c, name + ".resnets.0", x, width, width);
  if (c.midBlockAddAttention) x = attention(b, c, name + ".attentions.0", x, width);
  x = resnet(b, c, name + ".resnets.1", x, width, width);
  b.tap(name, x);
  return x;
}

UnitId convIn(GraphBuilder& b, const std::string& name, UnitId x, int64_t in, int64_t out) {
  x = b.conv3x3(name, x, in, out);
  b.tap(name, x);
  return x;
}

}  // namespace

Status buildVAEDecoder(const VAEConfig& c, Graph* graph) {
  ASDM_TRY(checkConfig(c));
  if (c.tiny()) return buildTinyVAEDecoder(c, graph);
  Graph made;
  made.lowParts = false;  // few sums, and values of half a gigabyte
  GraphBuilder b(made);
  const size_t stages = c.blockOutChannels.size();
  UnitId x = b.input("sample", {{kBatch, fixedSize(c.latentChannels), kHeight, kWidth}});
  if (c.usePostQuantConv) x = b.conv1x1("post_quant_conv", x, c.latentChannels, c.latentChannels);
  int64_t width = c.blockOutChannels.back();
  x = convIn(b, "decoder.conv_in", x, c.latentChannels, width);
  x = midBlock(b, c, "decoder.mid_block", x);
  for (size_t i = 0; i < stages; i++) {
    const std::string name = "decoder.up_blocks." + std::to_string(i);
    const int64_t out = c.blockOutChannels[stages - 1 - i];
    for (int64_t j = 0; j <= c.layersPerBlock; j++) {
      x = resnet(b, c, name + ".resnets." + std::to_string(j), x, width, out);
      width = out;
    }
    if (i + 1 < stages) x = buildUpsampler(b, name + ".upsamplers.0", x, width);
    b.tap(name, x);
  }
  x = b.groupNorm("decoder.conv_norm_out", x, width, c.normNumGroups, kNormEps, true);
  b.output(b.conv3x3("decoder.conv_out", x, width, c.outChannels));
  *graph = std::move(made);
  return Status::good();
}

Status buildVAEEncoder(const VAEConfig& c, Graph* graph) {
  ASDM_TRY(checkConfig(c));
  if (c.tiny()) return buildTinyVAEEncoder(c, graph);
  Graph made;
  made.lowParts = false;  // few sums, and values of half a gigabyte
  GraphBuilder b(made);
  const size_t stages = c.blockOutChannels.size();
  int64_t width = c.blockOutChannels[0];
  const UnitId sample = b.input("sample", {{kBatch, fixedSize(c.inChannels), kHeight, kWidth}});
  UnitId x = convIn(b, "encoder.conv_in", sample, c.inChannels, width);
  for (size_t i = 0; i < stages; i++) {
    const std::string name = "encoder.down_blocks." + std::to_string(i);
    for (int64_t j = 0; j < c.layersPerBlock; j++) {
      x = resnet(b, c, name + ".resnets." + std::to_string(j), x, width, c.blockOutChannels[i]);
      width = c.blockOutChannels[i];
    }
    if (i + 1 < stages) x = buildDownsampler(b, name + ".downsamplers.0", x, width, 0);
    b.tap(name, x);
  }
  x = midBlock(b, c, "encoder.mid_block", x);
  x = b.groupNorm("encoder.conv_norm_out", x, width, c.normNumGroups, kNormEps, true);
  const int64_t moments = 2 * c.latentChannels;
  x = b.conv3x3("encoder.conv_out", x, width, moments);
  if (c.useQuantConv) x = b.conv1x1("quant_conv", x, moments, moments);
  b.output(x);
  *graph = std::move(made);
  return Status::good();
}

}  // namespace asdm

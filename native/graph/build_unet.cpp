// Config -> graph of diffusers' UNet2DConditionModel (Rombach et al. 2022), with the SD 1.x, SD 2.x and BK-SDM options.
#include "graph/builder.h"

namespace asdm {

namespace {

// Does a prefix stand for this unit or something it lies in? Of a layer (`up_blocks.1.1`) both units do: `up_blocks.1.resnets.1`
// and `up_blocks.1.attentions.1` with all below.
bool covers(const std::string& prefix, const std::string& name) {
  const auto under = [&](const std::string& p) {
    return name.compare(0, p.size(), p) == 0 && (name.size() == p.size() || name[p.size()] == '.');
  };
  if (under(prefix)) return true;
  const size_t dot = prefix.rfind('.');
  if (dot == std::string::npos) return false;
  const std::string block = prefix.substr(0, dot), layer = prefix.substr(dot);
  return under(block + ".resnets" + layer) || under(block + ".attentions" + layer);
}

struct UNetBuilder {
  const UNetConfig& c;
  GraphBuilder b;
  UnitId timesteps, timeCond, added, time, text;
  // Long skips: value and channels, in the order in which the up blocks will take them from the back.
  struct Skip {
    UnitId value;
    int64_t channels;
  };
  std::vector<Skip> skips;
  std::vector<bool> named;  // which removed prefixes have left something out
  Status status = Status::good();

  bool removed(const std::string& name) {
    for (size_t i = 0; i < c.removed.size(); i++)
      if (covers(c.removed[i], name)) {
        named[i] = true;
        return true;
      }
    return false;
  }

  void fail(const std::string& name, const std::string& why) {
    if (status.ok())
      status = {Code::BadConfig, "Expected config.removed to name units that can be left out but received " + name + ", " + why};
  }

  UnitId timeEmbedding() {
    const int64_t width = c.blockOutChannels[0], out = 4 * width;
    UnitId t = b.timestep("time_proj", timesteps, width, c.flipSinToCos, c.freqShift);
    if (c.timeCondDim > 0)
      t = b.add("time_embedding.cond_proj.add", t, b.linear("time_embedding.cond_proj", timeCond, c.timeCondDim, width, false));
    t = b.linear("time_embedding.linear_1", t, width, out);
    t = b.activation("time_embedding.act", t, Activation::Silu);
    t = b.linear("time_embedding.linear_2", t, out, out);
    b.tap("time_embedding", t);
    if (c.additionDim > 0) {
      UnitId a = b.linear("add_embedding.linear_1", added, c.additionDim, out);
      a = b.activation("add_embedding.act", a, Activation::Silu);
      a = b.linear("add_embedding.linear_2", a, out, out);
      b.tap("add_embedding", a);
      t = b.add("add_embedding.add", t, a);
    }
    // Every ResNet begins with the same SiLU of it: computed once. It has a name of its own, so that a plan which inherits
    // `time_embedding` takes the embedding over, as the tap gives it, not its activation.
    return b.activation("time_activation", t, Activation::Silu);
  }

  UnitId resnet(const std::string& name, UnitId x, int64_t in, int64_t out) {
    if (removed(name)) {
      if (in != out) fail(name, "which takes " + std::to_string(in) + " channels and gives " + std::to_string(out));
      return x;
    }
    return buildResnet(b, name, x, {in, out, c.normNumGroups, c.normEps, time, 4 * c.blockOutChannels[0]});
  }

  UnitId transformer(const std::string& name, UnitId x, size_t stage, bool onlyCross) {
    if (removed(name)) return x;
    return buildTransformer(
        b, name, x,
        {c.blockOutChannels[stage], c.attentionHeads[stage], c.transformerLayersPerBlock[stage], c.normNumGroups, c.crossAttentionDim, text,
         onlyCross, c.useLinearProjection, [this](const std::string& unit) { return removed(unit); }});
  }

  UnitId downBlock(size_t stage, UnitId x, int64_t in) {
    const std::string name = "down_blocks." + std::to_string(stage);
    const int64_t out = c.blockOutChannels[stage];
    for (int64_t i = 0; i < c.layersPerBlock[stage]; i++) {
      x = resnet(name + ".resnets." + std::to_string(i), x, i == 0 ? in : out, out);
      if (c.downCrossAttention[stage]) x = transformer(name + ".attentions." + std::to_string(i), x, stage, c.onlyCrossAttention[stage]);
      skips.push_back({x, out});
    }
    if (stage + 1 < c.blockOutChannels.size()) {
      if (removed(name + ".downsamplers.0")) fail(name + ".downsamplers.0", "without which sizes do not fit");
      x = buildDownsampler(b, name + ".downsamplers.0", x, out, c.downsamplePadding);
      skips.push_back({x, out});
    }
    b.tap(name, x);
    return x;
  }

  UnitId midBlock(UnitId x) {
    const size_t stage = c.blockOutChannels.size() - 1;
    const int64_t width = c.blockOutChannels[stage];
    x = resnet("mid_block.resnets.0", x, width, width);
    x = transformer("mid_block.attentions.0", x, stage, false);
    x = resnet("mid_block.resnets.1", x, width, width);
    b.tap("mid_block", x);
    return x;
  }

  UnitId upBlock(size_t index, UnitId x, int64_t in) {
    const size_t stage = c.blockOutChannels.size() - 1 - index;
    const std::string name = "up_blocks." + std::to_string(index);
    const int64_t out = c.blockOutChannels[stage];
    for (int64_t i = 0; i <= c.layersPerBlock[stage]; i++) {
      const std::string number = std::to_string(i), unit = name + ".resnets." + number;
      const Skip skip = skips.back();
      skips.pop_back();
      x = b.concat(unit + ".concat", x, skip.value);
      x = resnet(unit, x, (i == 0 ? in : out) + skip.channels, out);
      if (c.upCrossAttention[index]) x = transformer(name + ".attentions." + number, x, stage, c.onlyCrossAttention[stage]);
    }
    // To the size of the next skip: twice this one, or one less where an odd size was halved.
    if (stage > 0) {
      if (removed(name + ".upsamplers.0")) fail(name + ".upsamplers.0", "without which sizes do not fit");
      x = buildUpsampler(b, name + ".upsamplers.0", x, out, skips.back().value);
    }
    b.tap(name, x);
    return x;
  }
};

}  // namespace

Status buildUNet(const UNetConfig& c, Graph* graph) {
  ASDM_TRY(checkConfig(c));
  Graph made;
  UNetBuilder u{c, GraphBuilder(made, c.conditional), kNoUnit, kNoUnit, kNoUnit, kNoUnit, kNoUnit, {}, std::vector<bool>(c.removed.size())};
  const size_t stages = c.blockOutChannels.size();
  const int64_t first = c.blockOutChannels[0];
  const UnitId sample = u.b.input("sample", {{kBatch, fixedSize(c.inChannels), kHeight, kWidth}});
  u.timesteps = u.b.input("timesteps", {{kBatch}});
  u.text = u.b.input("encoder_hidden_states", {{kBatch, kLength, fixedSize(c.crossAttentionDim)}, true});
  if (c.timeCondDim > 0) u.timeCond = u.b.input("timestep_cond", {{kBatch, fixedSize(c.timeCondDim)}, true});
  if (c.additionDim > 0) u.added = u.b.input("added_embeds", {{kBatch, fixedSize(c.additionDim)}, true});
  made.usualLength = 77;  // CLIP's window
  u.time = u.timeEmbedding();
  made.constantInputs.push_back(u.text);

  UnitId x = u.b.conv3x3("conv_in", sample, c.inChannels, first);
  u.b.tap("conv_in", x);
  u.skips.push_back({x, first});
  int64_t width = first;
  for (size_t stage = 0; stage < stages; stage++) {
    x = u.downBlock(stage, x, width);
    width = c.blockOutChannels[stage];
  }
  if (c.hasMidBlock) x = u.midBlock(x);
  for (size_t index = 0; index < stages; index++) {
    x = u.upBlock(index, x, width);
    width = c.blockOutChannels[stages - 1 - index];
  }
  x = u.b.groupNorm("conv_norm_out", x, first, c.normNumGroups, c.normEps, true);
  u.b.output(u.b.conv3x3("conv_out", x, first, c.outChannels));
  for (size_t i = 0; i < c.removed.size(); i++)
    if (!u.named[i]) u.fail("\"" + c.removed[i].substr(0, 120) + "\"", "which is none of the model's blocks, layers or residual units");
  ASDM_TRY(u.status);
  if (const ConditionalConv* conv = u.b.unmade())
    return {Code::BadConfig, "Expected config.conditional to name convolutions of the UNet, each once, but received \"" +
                                 conv->prefix.substr(0, 120) + "\""};
  *graph = std::move(made);
  return Status::good();
}

}  // namespace asdm

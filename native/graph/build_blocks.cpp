// The blocks that UNet and VAE share: ResNets, samplers, transformers (He et al. 2016; Rombach et al. 2022, as diffusers has them).
#include "graph/builder.h"

namespace asdm {

UnitId buildResnet(GraphBuilder& b, const std::string& name, UnitId x, const ResnetShape& s) {
  UnitId rowBias = kNoUnit;
  if (s.time != kNoUnit) rowBias = b.linear(name + ".time_emb_proj", s.time, s.timeWidth, s.out);
  // In a decoder, whose maps are large, a shortcut to fewer channels comes first: the input is free then, and the norm can be computed
  // in its place. Else it comes last, so that it need not be kept during the two convolutions, and takes in the sum: under bfloat16
  // it is the branch that is rounded then, which costs a UNet less than rounding the stream.
  const auto makeShortcut = [&] { return b.conv1x1(name + ".conv_shortcut", x, s.in, s.out); };
  const bool first = s.in > s.out && s.time == kNoUnit;
  UnitId shortcut = first ? makeShortcut() : x;
  UnitId h = b.groupNorm(name + ".norm1", x, s.in, s.groups, s.eps, true);
  h = b.conv3x3(name + ".conv1", h, s.in, s.out, rowBias);
  h = b.groupNorm(name + ".norm2", h, s.out, s.groups, s.eps, true);
  h = b.conv3x3(name + ".conv2", h, s.out, s.out);
  if (s.in != s.out && !first) shortcut = makeShortcut();
  const UnitId sum = b.add(name + ".add", shortcut, h);
  b.tap(name, sum);
  return sum;
}

UnitId buildDownsampler(GraphBuilder& b, const std::string& name, UnitId x, int64_t channels, int64_t padding) {
  const UnitId y = b.conv3x3(name + ".conv", x, channels, channels);
  b.attributes(y).stride = 2;
  b.attributes(y).padBefore = padding;
  b.attributes(y).padAfter = 1;
  b.tap(name, y);
  return y;
}

UnitId buildUpsampler(GraphBuilder& b, const std::string& name, UnitId x, int64_t channels, UnitId like) {
  const UnitId y = b.conv3x3(name + ".conv", x, channels, channels);
  b.attributes(y).doubleSize = like == kNoUnit;
  b.attributes(y).sizeOf = like;
  b.tap(name, y);
  return y;
}

namespace {

// Queries of x against keys and values of `context` (x itself when that is kNoUnit), with the residual sum.
UnitId buildAttention(GraphBuilder& b, const std::string& name, UnitId residual, UnitId x, const TransformerShape& s, bool cross) {
  Attributes a;
  a.heads = s.heads;
  a.headDim = s.channels / s.heads;
  UnitId o;
  if (cross) {
    const UnitId q = b.linear(name + ".to_q", x, s.channels, s.channels, false);
    const UnitId kv = b.fusedLinear(name + ".", {"to_k", "to_v"}, "to_kv", s.text, s.textWidth, s.channels, false);
    a.vColumn = s.channels;
    o = b.attention(name + ".attention", q, kv, kv, a);
  } else {
    const UnitId qkv = b.fusedLinear(name + ".", {"to_q", "to_k", "to_v"}, "to_qkv", x, s.channels, s.channels, false);
    a.kColumn = s.channels;
    a.vColumn = 2 * s.channels;
    o = b.attention(name + ".attention", qkv, qkv, qkv, a);
  }
  o = b.linear(name + ".to_out.0", o, s.channels, s.channels);
  b.tap(name, o);
  return b.add(name + ".add", residual, o);
}

UnitId buildTransformerBlock(GraphBuilder& b, const std::string& name, UnitId x, const TransformerShape& s) {
  constexpr double kLayerNormEps = 1e-5;
  const auto kept = [&](const char* unit) { return !s.removed || !s.removed(name + unit); };
  // A branch goes with the norm before it.
  if (kept(".attn1")) {
    const UnitId h = b.layerNorm(name + ".norm1", x, s.channels, kLayerNormEps);
    x = buildAttention(b, name + ".attn1", x, h, s, s.onlyCrossAttention);
  }
  if (kept(".attn2")) {
    const UnitId h = b.layerNorm(name + ".norm2", x, s.channels, kLayerNormEps);
    x = buildAttention(b, name + ".attn2", x, h, s, true);
  }
  if (kept(".ff")) {
    const int64_t inner = 4 * s.channels;
    UnitId h = b.layerNorm(name + ".norm3", x, s.channels, kLayerNormEps);
    h = b.linear(name + ".ff.net.0.proj", h, s.channels, 2 * inner);
    h = b.geglu(name + ".ff.net.0.geglu", h);
    h = b.linear(name + ".ff.net.2", h, inner, s.channels);
    b.tap(name + ".ff", h);
    x = b.add(name + ".ff.add", x, h);
  }
  b.tap(name, x);
  return x;
}

}  // namespace

UnitId buildTransformer(GraphBuilder& b, const std::string& name, UnitId x, const TransformerShape& s) {
  constexpr double kNormEps = 1e-6;  // diffusers fixes it here, whatever the model's norm_eps
  const auto project = [&](const std::string& part, UnitId from, Layout layout) {
    const UnitId y =
        s.linearProjection ? b.linear(name + part, from, s.channels, s.channels) : b.conv1x1(name + part, from, s.channels, s.channels);
    b.attributes(y).layout = layout;
    return y;
  };
  UnitId h = b.groupNorm(name + ".norm", x, s.channels, s.groups, kNormEps, false);
  h = project(".proj_in", h, Layout::ToSequence);
  for (int64_t i = 0; i < s.layers; i++) {
    const std::string block = name + ".transformer_blocks." + std::to_string(i);
    if (!s.removed || !s.removed(block)) h = buildTransformerBlock(b, block, h, s);
  }
  h = project(".proj_out", h, Layout::ToMap);
  b.attributes(h).sizeOf = x;
  const UnitId sum = b.add(name + ".add", x, h);
  b.tap(name, sum);
  return sum;
}

}  // namespace asdm

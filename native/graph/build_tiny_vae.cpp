// Config -> graphs of diffusers' AutoencoderTiny (TAESD, https://github.com/madebyollin/taesd): convolutions and ReLUs alone.
#include "graph/builder.h"

namespace asdm {

namespace {

// A sequence of layers as PyTorch counts them: each has the next number, those without weights too.
struct Layers {
  GraphBuilder& b;
  std::string prefix;
  UnitId x;
  int64_t next = 0;

  std::string name() { return prefix + std::to_string(next++); }
  void activation(Activation activation) {
    const std::string unit = name();
    x = b.activation(unit, x, activation);
  }
  void conv(int64_t in, int64_t out, bool bias = true, int64_t stride = 1, bool doubleSize = false) {
    const std::string unit = name();
    x = b.conv3x3(unit, x, in, out, kNoUnit, bias);
    b.attributes(x).stride = stride;
    b.attributes(x).doubleSize = doubleSize;
    b.tap(unit, x);
  }
  // relu(conv(relu(conv(relu(conv(x))))) + x)
  void block(int64_t width) {
    const std::string unit = name();
    UnitId h = b.conv3x3(unit + ".conv.0", x, width, width);
    h = b.activation(unit + ".conv.1", h, Activation::Relu);
    h = b.conv3x3(unit + ".conv.2", h, width, width);
    h = b.activation(unit + ".conv.3", h, Activation::Relu);
    h = b.conv3x3(unit + ".conv.4", h, width, width);
    x = b.activation(unit + ".fuse", b.add(unit + ".add", h, x), Activation::Relu);
    b.tap(unit, x);
  }
};

}  // namespace

Status buildTinyVAEDecoder(const VAEConfig& c, Graph* graph) {
  Graph made;
  made.lowParts = false;
  GraphBuilder b(made);
  const UnitId sample = b.input("sample", {{kBatch, fixedSize(c.latentChannels), kHeight, kWidth}});
  Layers layers{b, "decoder.layers.", b.activation("decoder.clamp", sample, Activation::SoftClamp)};
  const int64_t width = c.blockOutChannels[0];
  layers.conv(c.latentChannels, width);
  layers.activation(Activation::Relu);
  for (size_t i = 0; i < c.tinyDecoderBlocks.size(); i++) {
    for (int64_t j = 0; j < c.tinyDecoderBlocks[i]; j++) layers.block(width);
    if (i + 1 == c.tinyDecoderBlocks.size()) {
      layers.conv(width, c.outChannels);
    } else {
      layers.next++;  // the enlargement is the next convolution's
      layers.conv(width, width, false, 1, true);
    }
  }
  b.output(b.activation("decoder.range", layers.x, Activation::ToSigned));
  *graph = std::move(made);
  return Status::good();
}

Status buildTinyVAEEncoder(const VAEConfig& c, Graph* graph) {
  Graph made;
  made.lowParts = false;
  GraphBuilder b(made);
  const UnitId sample = b.input("sample", {{kBatch, fixedSize(c.inChannels), kHeight, kWidth}});
  Layers layers{b, "encoder.layers.", b.activation("encoder.range", sample, Activation::FromSigned)};
  const int64_t width = c.tinyEncoderWidth;
  for (size_t i = 0; i < c.tinyEncoderBlocks.size(); i++) {
    if (i == 0) layers.conv(c.inChannels, width);
    else layers.conv(width, width, false, 2);
    for (int64_t j = 0; j < c.tinyEncoderBlocks[i]; j++) layers.block(width);
  }
  layers.conv(width, c.latentChannels);
  b.output(layers.x);
  *graph = std::move(made);
  return Status::good();
}

}  // namespace asdm

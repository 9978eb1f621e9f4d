// Config -> graph of transformers' CLIPTextModel (Radford et al. 2021): a causal transformer that normalises before each part.
#include "graph/builder.h"

namespace asdm {

namespace {

UnitId layer(GraphBuilder& b, const TextEncoderConfig& c, const std::string& name, UnitId x) {
  const int64_t width = c.hiddenSize;
  UnitId h = b.layerNorm(name + ".layer_norm1", x, width, c.layerNormEps);
  h = b.fusedLinear(name + ".self_attn.", {"q_proj", "k_proj", "v_proj"}, "qkv_proj", h, width, width, true);
  Attributes a;
  a.heads = c.numAttentionHeads;
  a.headDim = width / c.numAttentionHeads;
  a.kColumn = width;
  a.vColumn = 2 * width;
  a.causal = true;
  h = b.attention(name + ".self_attn.attention", h, h, h, a);
  h = b.linear(name + ".self_attn.out_proj", h, width, width);
  b.tap(name + ".self_attn", h);
  x = b.add(name + ".self_attn.add", x, h);

  h = b.layerNorm(name + ".layer_norm2", x, width, c.layerNormEps);
  h = b.linear(name + ".mlp.fc1", h, width, c.intermediateSize);
  h = b.activation(name + ".mlp.activation_fn", h, c.hiddenAct == "gelu" ? Activation::Gelu : Activation::QuickGelu);
  h = b.linear(name + ".mlp.fc2", h, c.intermediateSize, width);
  b.tap(name + ".mlp", h);
  x = b.add(name + ".mlp.add", x, h);
  b.tap(name, x);
  return x;
}

}  // namespace

Status buildTextEncoder(const TextEncoderConfig& c, Graph* graph) {
  ASDM_TRY(checkConfig(c));
  Graph made;
  GraphBuilder b(made);
  made.usualLength = c.maxPositionEmbeddings;
  const UnitId ids = b.input("ids", {{kBatch, kLength}}, DType::I32);
  UnitId x = b.embed("embeddings", ids, c.vocabSize, c.maxPositionEmbeddings, c.hiddenSize);
  b.tap("embeddings", x);
  std::vector<UnitId> states{x};
  for (int64_t i = 0; i < c.numHiddenLayers; i++) {
    x = layer(b, c, "encoder.layers." + std::to_string(i), x);
    states.push_back(x);
  }
  const UnitId last = b.layerNorm("final_layer_norm", x, c.hiddenSize, c.layerNormEps);
  b.output(last);
  // The same norm over each earlier state, for "clip skip"; a program holds the one that is asked for.
  for (int64_t skip = 1; skip <= c.numHiddenLayers; skip++) {
    const UnitId state = states[static_cast<size_t>(c.numHiddenLayers - skip)];
    b.output(b.again(last, "final_layer_norm.skip_" + std::to_string(skip), state));
  }
  *graph = std::move(made);
  return Status::good();
}

}  // namespace asdm

// Adds units to a graph with their weights named as diffusers names them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace asdm {

class GraphBuilder {
 public:
  // conditional: convolutions that hold experts. conv1x1 and conv3x3 of these names make a CondConv, whose weights are named
  // `name`.experts.weight [K,O,I,kh,kw], `name`.experts.bias [K,O], `name`.router.weight [K,I] and `name`.router.bias [K].
  explicit GraphBuilder(Graph& graph, const std::vector<ConditionalConv>& conditional = {})
      : graph_(graph), conditional_(conditional), made_(conditional.size()) {}

  // Any unit as it is.
  UnitId push(Unit unit);
  UnitId input(const std::string& name, const InputShape& shape, DType dtype = DType::F32);
  // One weight [out, in] named `name`.weight, and `name`.bias unless it has none.
  UnitId linear(const std::string& name, UnitId x, int64_t in, int64_t out, bool bias = true);
  // A convolution by a 1x1 kernel is a linear layer per pixel; only its weight is named [out, in, 1, 1].
  UnitId conv1x1(const std::string& name, UnitId x, int64_t in, int64_t out);
  // Several linear layers of one input, `prefix` + each part, as one product with their outputs side by side.
  UnitId fusedLinear(const std::string& prefix, const std::vector<std::string>& parts, const std::string& unit, UnitId x, int64_t in,
                     int64_t outEach, bool bias);
  UnitId conv3x3(const std::string& name, UnitId x, int64_t in, int64_t out, UnitId rowBias = kNoUnit, bool bias = true);
  UnitId groupNorm(const std::string& name, UnitId x, int64_t channels, int64_t groups, double eps, bool silu);
  UnitId layerNorm(const std::string& name, UnitId x, int64_t channels, double eps);
  UnitId attention(const std::string& name, UnitId q, UnitId k, UnitId v, const Attributes& attributes);
  UnitId geglu(const std::string& name, UnitId x);
  UnitId activation(const std::string& name, UnitId x, Activation activation);
  UnitId add(const std::string& name, UnitId a, UnitId b);
  UnitId concat(const std::string& name, UnitId a, UnitId b);
  UnitId embed(const std::string& prefix, UnitId ids, int64_t vocabulary, int64_t positions, int64_t width);
  UnitId timestep(const std::string& name, UnitId t, int64_t dim, bool flip, double freqShift);
  // The same weights applied to another value.
  UnitId again(UnitId unit, const std::string& name, UnitId x);

  Attributes& attributes(UnitId id) { return graph_.units[static_cast<size_t>(id)].attributes; }
  void tap(const std::string& name, UnitId id) { graph_.taps[name] = id; }
  void output(UnitId id) { graph_.outputs.push_back(id); }
  // The first conditional convolution that was not made (or not once more), or null.
  const ConditionalConv* unmade() const;

 private:
  // A convolution of experts, if the name is one of the conditional ones.
  UnitId condConv(const std::string& name, UnitId x, int64_t in, int64_t out, int64_t kernel);
  WeightId vector(const std::string& name, int64_t count);
  WeightId matrix(const std::string& name, std::vector<int64_t> shape);
  WeightId weight(WeightRef ref);

  Graph& graph_;
  std::vector<ConditionalConv> conditional_;
  std::vector<bool> made_;
};

// The graphs of an AutoencoderTiny, whose config is checked.
Status buildTinyVAEDecoder(const VAEConfig& config, Graph* graph);
Status buildTinyVAEEncoder(const VAEConfig& config, Graph* graph);

// The building blocks that UNet and VAE share.

// diffusers' ResnetBlock2D: conv2(silu(norm2(conv1(silu(norm1(x))) + time_emb_proj(silu(temb))))) + shortcut(x).
// `time`: silu of the time embedding, of width timeWidth, or kNoUnit.
struct ResnetShape {
  int64_t in, out, groups;
  double eps;
  UnitId time = kNoUnit;
  int64_t timeWidth = 0;
};
UnitId buildResnet(GraphBuilder& b, const std::string& name, UnitId x, const ResnetShape& shape);

// A 3x3 convolution by steps of 2 with the zeros where diffusers puts them: all round, or (padding 0) only right and below.
UnitId buildDownsampler(GraphBuilder& b, const std::string& name, UnitId x, int64_t channels, int64_t padding);
// Nearest-neighbour enlargement to twice the size, or to the size of `like`, and a 3x3 convolution.
UnitId buildUpsampler(GraphBuilder& b, const std::string& name, UnitId x, int64_t channels, UnitId like = kNoUnit);

// diffusers' Transformer2DModel over a feature map.
struct TransformerShape {
  int64_t channels, heads, layers, groups, textWidth;
  UnitId text;
  bool onlyCrossAttention, linearProjection;
  // Is the transformer block, attn1, attn2 or ff of this name left out? None is where this is empty.
  std::function<bool(const std::string&)> removed;
};
UnitId buildTransformer(GraphBuilder& b, const std::string& name, UnitId x, const TransformerShape& shape);

}  // namespace asdm

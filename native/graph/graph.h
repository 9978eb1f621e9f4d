// A model as named units in an order in which they can run, independent of input sizes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/status.h"
#include "graph/configs.h"
#include "graph/unit.h"

namespace asdm {

// A size of an input: what a pass brings, or a number.
struct InputSize {
  enum class Of : uint8_t { Batch, Height, Width, Length, Fixed } of = Of::Fixed;
  int64_t fixed = 0;
};

inline constexpr InputSize kBatch{InputSize::Of::Batch}, kHeight{InputSize::Of::Height}, kWidth{InputSize::Of::Width},
    kLength{InputSize::Of::Length};
constexpr InputSize fixedSize(int64_t size) { return {InputSize::Of::Fixed, size}; }

// An input's shape as callers give it: a map is [N,C,H,W], which is [N,H,W,C] in the graph.
struct InputShape {
  std::vector<InputSize> sizes;
  bool perRequest = false;  // the same at every step of a request
};

struct Graph {
  std::vector<Unit> units;         // each after its inputs
  std::vector<WeightRef> weights;  // in the order of their first use; several units may share one
  std::vector<UnitId> inputs;      // the Input units
  std::vector<InputShape> inputShapes;  // of each of them that callers give
  int64_t usualLength = 0;         // of texts, where a caller names none
  // Those of them by which units are found that need to run only once in a request.
  std::vector<UnitId> constantInputs;
  // What the model gives. A text encoder has several: outputs[s] leaves out the last s layers.
  std::vector<UnitId> outputs;
  // In bfloat16, do sums along residual connections keep low parts (backend/arguments.h)? They cost memory for the largest values.
  bool lowParts = true;
  // Values that have a name of their own: module paths of the diffusers model.
  std::map<std::string, UnitId> taps;

  const Unit& operator[](UnitId id) const { return units[static_cast<size_t>(id)]; }
  UnitId size() const { return static_cast<UnitId>(units.size()); }
  // Are these the products of a unit by float weights, whatever the activations?
  bool isWide(UnitId id) const {
    const Unit& u = (*this)[id];
    return opInfo(u.op).isProduct() && weights[static_cast<size_t>(u.weights[0])].shape.format == WeightFormat::F32;
  }
  uint64_t parameters(UnitId id) const {
    uint64_t count = 0;
    for (WeightId w : (*this)[id].weights) count += static_cast<uint64_t>(weights[static_cast<size_t>(w)].count());
    return count;
  }
};

// The graphs. Inputs by the names of their units:
//   UNet          sample [N,inChannels,H,W], timesteps [N], encoder_hidden_states [N,L,crossAttentionDim], and with
//                 a timeCondDim timestep_cond [N,timeCondDim], with an additionDim added_embeds [N,additionDim]
//   VAE decoder   sample [N,latentChannels,H,W]; encoder: sample [N,inChannels,H,W], gives the moments [N,h,w,2*latentChannels]
//   text encoder  ids [N,L] (I32)
// They fail as checkConfig does.
Status buildUNet(const UNetConfig& config, Graph* graph);
Status buildVAEDecoder(const VAEConfig& config, Graph* graph);
Status buildVAEEncoder(const VAEConfig& config, Graph* graph);
Status buildTextEncoder(const TextEncoderConfig& config, Graph* graph);
Status buildGraph(const ModelSpec& spec, Graph* graph);

}  // namespace asdm

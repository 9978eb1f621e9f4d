// Which weights are stored as 8-bit integers, and which as floats where activations are bfloat16.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace asdm {

// Marks the products' weights as WeightFormat::I8, but for those whose names contain one of `exact` as a run of whole parts
// ("conv_in" is in "conv_in.weight", "attn2.to_k" in "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"). Weights that
// make up one product are marked together or not at all. Sums too long for 32 bits stay as they are, and so
// do the experts of conditional convolutions, since their mixtures are none of integers.
void quantizeWeights(Graph* graph, const std::vector<std::string>& exact);

// Marks products' weights as WeightFormat::F32 whose names contain one of `wide`, likewise; experts of conditional convolutions stay as
// they are.
void widenWeights(Graph* graph, const std::vector<std::string>& wide);

}  // namespace asdm

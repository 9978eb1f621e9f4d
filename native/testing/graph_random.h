// Random graphs with random weights, for properties that hold for any graph.
#pragma once

#include <random>

#include "graph/builder.h"
#include "weights/store.h"

namespace asdm::testing {

// Inputs: sample [2,h,w,4], timesteps [2], encoder_hidden_states [2,7,12], as a UNet has them; every value but the inputs is a tap
// under its unit's name. Blocks, joins, products and norms follow each other at random.
struct RandomGraph {
  Graph graph;
  std::vector<Shape> inputs;
  std::vector<std::vector<float>> data;  // of the inputs, in PyTorch's layout
};
RandomGraph randomGraph(uint32_t seed);

// Fills every weight with small numbers.
Status fillWeights(const Graph& graph, const KernelTable& table, uint32_t seed, Queue& queue, WeightStore* store);

}  // namespace asdm::testing

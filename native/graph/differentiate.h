// Training walks the same graph: gradients are units of it, appended under the names of those they are gradients of.
#pragma once

#include <string>
#include <vector>

#include "core/status.h"
#include "graph/graph.h"

namespace asdm {

// A loss on a value of the graph: how far it is from a target that comes from outside, sample by sample (LossArgs).
struct LossTerm {
  UnitId prediction = kNoUnit;
  std::string name;  // of the loss's value; its inputs are `name`.target and `name`.weight
  Loss loss = Loss::SquaredError;
};

// What differentiate appended.
struct Differentiated {
  std::vector<UnitId> losses;          // of each term: the loss of each sample [N]
  std::vector<UnitId> targets;         // of each term: an input like the prediction, which follows the graph's own
  std::vector<UnitId> weights;         // of each term: an input [N], each sample's factor in the sum that is differentiated
  std::vector<UnitId> effects;         // units that give a trained weight its gradient (CompileRequest::effects)
  std::vector<UnitId> inputGradients;  // of the inputs asked for
};

// Appends units that compute the gradient of the sum over terms and samples of weight * loss: with regard to the trained weights (by WeightId),
// and to the values `inputs`. A unit that reaches back to none of them is not differentiated. The program that runs the effects has to keep
// the forward values they read, as its lifetimes see to. UnsupportedConfig where a unit on the way has no gradient, InvalidArgument where a
// term's prediction does not depend on anything trained.
Status differentiate(Graph* graph, const std::vector<LossTerm>& terms, const std::vector<bool>& trained, const std::vector<UnitId>& inputs,
                     Differentiated* result);

}  // namespace asdm

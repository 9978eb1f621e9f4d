// Which values a prefix stands for when it is inherited.
#pragma once

#include <string>
#include <vector>

#include "core/status.h"
#include "graph/graph.h"

namespace asdm {

// A feature taken over from an earlier step. The prefix is cut at dots: a block (`up_blocks.2`), a layer (`up_blocks.2.1`, which
// is `resnets.1` and `attentions.1` of the block) or anything below (`up_blocks.2.attentions.1.transformer_blocks.0.attn2`).
struct Inherit {
  std::string prefix;
  // What the unit adds to the stream, before the sum, so that the stream stays fresh; for prefixes that end in one sum only.
  // Otherwise every value made under the prefix and read outside it.
  bool branch = false;
};

// Fails with InvalidArgument where no unit has the prefix, or where `branch` is asked of something that is no residual unit.
Status inheritedValues(const Graph& graph, const Inherit& inherit, std::vector<UnitId>* values);

}  // namespace asdm

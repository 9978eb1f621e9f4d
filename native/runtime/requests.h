// What a caller of Model asks for, checked and as graph shapes.
#pragma once

#include "graph/graph.h"
#include "runtime/model.h"

namespace asdm {

// The shapes of graph.inputs for a forward pass of this size, channels last. A length of 0 means the usual window.
// Fails with ShapeMismatch for sizes below 1 or absurdly large.
Status graphInputs(const Graph& graph, const ForwardShape& shape, std::vector<Shape>* shapes);

// Which of a graph's inputs are given together.
enum class Given { All, PerStep, PerRequest };

// The size of a forward pass; where sizes are known already (not 0), values have to agree with them. Fails with ShapeMismatch, TensorDtype or
// InvalidArgument unless there is one value for each of these inputs and none for the others, and they agree with the graph and each other. Values of a name that the graph
// does not have are not looked at.
Status checkValues(const Graph& graph, Given given, const HostInputs& values, ForwardShape* shape);
// Fails with InvalidArgument or ShapeMismatch unless ids, as checked by checkValues, are ones that the text encoder has.
Status checkIds(const TextEncoderConfig& config, const HostInput& ids);

// The values in the order of graph.inputs, as checked.
std::vector<const void*> addresses(const Graph& graph, const HostInputs& values);

// Values for taps by name, in order and with repetitions; fails with InvalidArgument for unknown names.
Status findTaps(const Graph& graph, const std::vector<std::string>& names, std::vector<UnitId>* ids);

}  // namespace asdm

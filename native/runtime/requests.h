// What a caller of Model asks for, checked and as graph shapes.
#pragma once

#include "graph/graph.h"
#include "runtime/model.h"

namespace asdm {

// The shapes of graph.inputs for a forward pass of this size, channels last. A length of 0 means the usual window.
// Fails with ShapeMismatch for sizes below 1 or absurdly large.
Status graphInputs(const ModelSpec& spec, const ForwardShape& shape, std::vector<Shape>* shapes);

// The size of a forward pass; fails with ShapeMismatch or InvalidArgument unless the inputs agree with the model and each other.
Status checkInputs(const ModelSpec& spec, const ForwardInputs& inputs, ForwardShape* shape);

// Values for taps by name, in order and with repetitions; fails with InvalidArgument for unknown names.
Status findTaps(const Graph& graph, const std::vector<std::string>& names, std::vector<UnitId>* ids);

}  // namespace asdm

#include "runtime/requests.h"

#include <cmath>

namespace asdm {

namespace {

// Beyond what any machine computes, within what 64-bit arithmetic on sizes stands (graph/shapes.cpp bounds their products).
constexpr int64_t kMaxBatch = 1 << 16, kMaxSide = 1 << 20, kMaxLength = 1 << 20;

Status sizeFrom(const char* what, int64_t value, int64_t most) {
  if (value >= 1 && value <= most) return Status::good();
  return {Code::ShapeMismatch,
          std::string("Expected ") + what + " from 1 to " + std::to_string(most) + " but received " + std::to_string(value)};
}

int64_t* sizeOf(InputSize::Of of, ForwardShape* shape) {
  switch (of) {
    case InputSize::Of::Batch: return &shape->batch;
    case InputSize::Of::Height: return &shape->height;
    case InputSize::Of::Width: return &shape->width;
    case InputSize::Of::Length: return &shape->length;
    case InputSize::Of::Fixed: break;
  }
  return nullptr;
}

const char* letterOf(InputSize::Of of) {
  constexpr const char* kLetters[] = {"N", "H", "W", "L", ""};
  return kLetters[static_cast<size_t>(of)];
}

Status checkValue(const std::string& name, DType dtype, const InputShape& input, const HostInput& value, ForwardShape* shape) {
  if (value.dtype != dtype)
    return {Code::TensorDtype, "Expected " + name + " in " + dtypeName(dtype) + " but received " + dtypeName(value.dtype)};
  // What is wanted, for the message: sizes as far as they are known.
  std::string pattern;
  bool fits = value.shape.size() == input.sizes.size();
  double count = 1;
  for (size_t i = 0; i < input.sizes.size(); i++) {
    const InputSize& size = input.sizes[i];
    int64_t* brought = sizeOf(size.of, shape);
    const int64_t known = brought == nullptr ? size.fixed : *brought;
    pattern += (i > 0 ? "," : "") + (known > 0 ? std::to_string(known) : letterOf(size.of));
    if (!fits) continue;
    fits = value.shape[i] >= 1 && (known == 0 || value.shape[i] == known);
    if (fits && brought != nullptr) *brought = value.shape[i];
    count *= static_cast<double>(value.shape[i]);
  }
  if (!fits) return {Code::ShapeMismatch, "Expected " + name + " of shape [" + pattern + "] but received " + shapeText(value.shape)};
  if (count * static_cast<double>(dtypeBytes(dtype)) != static_cast<double>(value.bytes.size()))
    return {Code::ShapeMismatch, "Expected " + name + " of shape " + shapeText(value.shape) + " to hold as many numbers but received " +
                                     std::to_string(value.bytes.size() / static_cast<size_t>(dtypeBytes(dtype)))};
  if (dtype != DType::F32 || input.sizes.size() != 1) return Status::good();
  for (int64_t i = 0; i < value.shape[0]; i++)
    if (!std::isfinite(value.as<float>()[i]))
      return {Code::InvalidArgument, "Expected finite " + name + " but received " + std::to_string(value.as<float>()[i])};
  return Status::good();
}

}  // namespace

Status graphInputs(const Graph& graph, const ForwardShape& asked, std::vector<Shape>* shapes) {
  ForwardShape shape = asked;
  if (shape.length == 0) shape.length = graph.usualLength;
  shapes->clear();
  for (const InputShape& input : graph.inputShapes) {
    Shape made;
    made.rank = static_cast<int>(input.sizes.size());
    for (int i = 0; i < made.rank; i++) {
      const InputSize& size = input.sizes[static_cast<size_t>(i)];
      const int64_t* brought = sizeOf(size.of, &shape);
      switch (size.of) {
        case InputSize::Of::Batch: ASDM_TRY(sizeFrom("batch", *brought, kMaxBatch)); break;
        case InputSize::Of::Height: ASDM_TRY(sizeFrom("height", *brought, kMaxSide)); break;
        case InputSize::Of::Width: ASDM_TRY(sizeFrom("width", *brought, kMaxSide)); break;
        case InputSize::Of::Length: ASDM_TRY(sizeFrom("length", *brought, kMaxLength)); break;
        case InputSize::Of::Fixed: break;
      }
      made[i] = brought == nullptr ? size.fixed : *brought;
    }
    if (made.rank == 4) made = {made[0], made[2], made[3], made[1]};
    shapes->push_back(made);
  }
  return Status::good();
}

Status checkValues(const Graph& graph, Given given, const HostInputs& values, ForwardShape* shape) {
  for (size_t i = 0; i < graph.inputShapes.size(); i++) {
    const Unit& unit = graph[graph.inputs[i]];
    const InputShape& input = graph.inputShapes[i];
    const auto found = values.find(unit.name);
    if (given != Given::All && input.perRequest != (given == Given::PerRequest)) {
      if (found == values.end()) continue;
      return {Code::InvalidArgument,
              "Expected " + unit.name +
                  (input.perRequest ? " to condition the run, not a pass of it" : " for passes, not to condition the run")};
    }
    if (found == values.end()) return {Code::InvalidArgument, "Expected a value for the input " + unit.name + " but received none"};
    ASDM_TRY(checkValue(unit.name, unit.dtype, input, found->second, shape));
  }
  return Status::good();
}

Status checkIds(const TextEncoderConfig& c, const HostInput& ids) {
  if (ids.shape[1] > c.maxPositionEmbeddings)
    return {Code::ShapeMismatch,
            "Expected at most " + std::to_string(c.maxPositionEmbeddings) + " ids per text but received " + std::to_string(ids.shape[1])};
  const int64_t count = ids.shape[0] * ids.shape[1];
  for (int64_t i = 0; i < count; i++) {
    const int32_t id = ids.as<int32_t>()[i];
    if (id < 0 || id >= c.vocabSize)
      return {Code::InvalidArgument, "Expected ids from 0 to " + std::to_string(c.vocabSize - 1) + " but received " + std::to_string(id) +
                                         " at position " + std::to_string(i)};
  }
  return Status::good();
}

std::vector<const void*> addresses(const Graph& graph, const HostInputs& values) {
  std::vector<const void*> list;
  for (UnitId input : graph.inputs) list.push_back(values.at(graph[input].name).bytes.data());
  return list;
}

Status findTaps(const Graph& graph, const std::vector<std::string>& names, std::vector<UnitId>* ids) {
  for (const std::string& name : names) {
    const auto found = graph.taps.find(name);
    if (found == graph.taps.end())
      return {Code::InvalidArgument, "Expected taps to be names of this model's modules, such as \"" +
                                         (graph.taps.empty() ? "" : graph.taps.begin()->first) + "\", but received \"" +
                                         name.substr(0, 120) + "\""};
    ids->push_back(found->second);
  }
  return Status::good();
}

}  // namespace asdm

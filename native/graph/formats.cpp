#include "graph/formats.h"

namespace asdm {

namespace {

// What a 32-bit sum holds in any case: 255 * 127 * k < 2^31.
constexpr int64_t kLongestSum = 65536;

bool mentions(const std::string& name, const std::string& parts) { return ("." + name + ".").find("." + parts + ".") != std::string::npos; }

bool isNamed(const WeightRef& weight, const std::vector<std::string>& names) {
  for (const WeightPart& part : weight.parts)
    for (const std::string& parts : names)
      if (mentions(part.name, parts)) return true;
  return false;
}

}  // namespace

void quantizeWeights(Graph* graph, const std::vector<std::string>& exact) {
  for (WeightRef& weight : graph->weights)
    if (weight.role == WeightRole::Matrix && weight.experts == 0 && weight.shape.k() <= kLongestSum && !isNamed(weight, exact))
      weight.shape.format = WeightFormat::I8;
}

void widenWeights(Graph* graph, const std::vector<std::string>& wide) {
  for (WeightRef& weight : graph->weights)
    if (weight.role == WeightRole::Matrix && weight.experts == 0 && isNamed(weight, wide)) weight.shape.format = WeightFormat::F32;
}

}  // namespace asdm

#include "graph/inherit.h"

#include <algorithm>

namespace asdm {

namespace {

bool under(const std::string& name, const std::string& prefix) {
  return name.compare(0, prefix.size(), prefix) == 0 && (name.size() == prefix.size() || name[prefix.size()] == '.');
}

bool isNumber(const std::string& text) { return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos; }

// `up_blocks.2.1` -> `up_blocks.2.resnets.1`, `up_blocks.2.attentions.1`; anything else stands for itself.
std::vector<std::string> spelledOut(const std::string& prefix) {
  const size_t last = prefix.rfind('.');
  if (last == std::string::npos || !isNumber(prefix.substr(last + 1))) return {prefix};
  const std::string block = prefix.substr(0, last), layer = prefix.substr(last);
  const size_t before = block.rfind('.');
  const bool numbered = before != std::string::npos && isNumber(block.substr(before + 1));
  if (!numbered && block != "mid_block") return {prefix};
  return {block + ".resnets" + layer, block + ".attentions" + layer};
}

}  // namespace

Status inheritedValues(const Graph& graph, const Inherit& inherit, std::vector<UnitId>* values) {
  const std::vector<std::string> prefixes = spelledOut(inherit.prefix);
  const size_t count = graph.units.size();
  std::vector<bool> inside(count), readOutside(count);
  bool any = false;
  for (size_t u = 0; u < count; u++) {
    inside[u] = graph.units[u].op != Op::Input &&
                std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& p) { return under(graph.units[u].name, p); });
    any = any || inside[u];
  }
  if (!any)
    return {Code::InvalidArgument,
            "Expected a unit, layer or block of the model to inherit but received \"" + inherit.prefix.substr(0, 120) + "\""};
  if (inherit.branch) {
    // The sum that ends a residual unit is named after it.
    for (size_t u = 0; u < count; u++)
      if (graph.units[u].op == Op::Add && prefixes.size() == 1 && graph.units[u].name == prefixes[0] + ".add") {
        values->push_back(graph.units[u].inputs[1]);
        return Status::good();
      }
    return {Code::InvalidArgument,
            "Expected a residual unit to inherit the branch of but received \"" + inherit.prefix.substr(0, 120) + "\""};
  }
  for (size_t u = 0; u < count; u++)
    if (!inside[u])
      for (UnitId in : graph.units[u].inputs) readOutside[static_cast<size_t>(in)] = true;
  for (UnitId o : graph.outputs) readOutside[static_cast<size_t>(o)] = true;
  for (size_t u = 0; u < count; u++)
    if (inside[u] && readOutside[u]) values->push_back(static_cast<UnitId>(u));
  return Status::good();
}

}  // namespace asdm

#include "graph/reach.h"

namespace asdm {

Reach reach(const Graph& graph, const std::vector<UnitId>& outputs, const std::vector<UnitId>& inherited) {
  const size_t count = graph.units.size();
  std::vector<bool> needed(count), kept(count);
  for (UnitId o : outputs) needed[static_cast<size_t>(o)] = true;
  for (UnitId i : inherited) kept[static_cast<size_t>(i)] = true;
  for (size_t u = count; u-- > 0;)  // consumers first
    if (needed[u] && !kept[u])
      for (UnitId in : graph.units[u].inputs) needed[static_cast<size_t>(in)] = true;
  Reach result{std::vector<bool>(count), std::vector<bool>(count)};
  for (size_t u = 0; u < count; u++) {
    result.run[u] = needed[u] && !kept[u];
    result.read[u] = needed[u] && kept[u];
  }
  return result;
}

}  // namespace asdm

#include "graph/low_parts.h"

namespace asdm {

std::vector<bool> lowParts(const Graph& graph, DType activations) {
  std::vector<bool> low(graph.units.size()), normed(graph.units.size());
  if (activations != DType::BF16 || !graph.lowParts) return low;
  for (size_t u = graph.units.size(); u-- > 0;) {  // readers first
    const Unit& unit = graph.units[u];
    const auto mark = [&](std::vector<bool>& marks, size_t count) {
      for (size_t i = 0; i < count; i++) marks[static_cast<size_t>(unit.inputs[i])] = true;
    };
    switch (opInfo(unit.op).lowParts) {
      case LowParts::Sum:
      case LowParts::Join:
        // Norms read the low parts of sums; for what else they read one rounding is little.
        if (normed[u]) low[u] = true;
        if (opInfo(unit.op).lowParts == LowParts::Sum || low[u]) mark(low, 2);
        break;
      case LowParts::Product:
        if (graph.isWide(static_cast<UnitId>(u))) mark(low, 1);
        break;
      case LowParts::Norm: mark(normed, 1); [[fallthrough]];
      case LowParts::None:
        if (unit.op != Op::Input) low[u] = false;
    }
  }
  return low;
}

}  // namespace asdm

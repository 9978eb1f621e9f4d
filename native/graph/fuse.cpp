#include "graph/program.h"

namespace asdm {

namespace {

// Kernels gate panel by panel.
bool hasWholePanels(const Graph& graph, UnitId product, int64_t panelRows) {
  return graph.weights[static_cast<size_t>(graph[product].weights[0])].shape.n % (2 * panelRows) == 0;
}

}  // namespace

std::vector<Fused> fuseUnits(const Graph& graph, const std::vector<bool>& run, const std::vector<UnitId>& outputs, bool fuse,
                             int64_t panelRows) {
  const size_t count = graph.units.size();
  std::vector<int> readers(count);
  std::vector<UnitId> reader(count, kNoUnit);
  for (UnitId o : outputs) readers[static_cast<size_t>(o)] += 2;  // never lies between two fused units
  for (size_t u = 0; u < count; u++) {
    if (!run[u]) continue;
    for (UnitId in : graph.units[u].inputs) {
      readers[static_cast<size_t>(in)]++;
      reader[static_cast<size_t>(in)] = static_cast<UnitId>(u);
    }
  }
  // When a value is there: at its own turn, or earlier, at that of the unit that took its unit in.
  std::vector<UnitId> ready(count);
  std::vector<bool> taken(count);
  for (size_t u = 0; u < count; u++) ready[u] = static_cast<UnitId>(u);

  std::vector<Fused> calls;
  for (size_t u = 0; u < count; u++) {
    if (!run[u] || taken[u]) continue;
    const UnitId head = static_cast<UnitId>(u);
    Fused call{head, head};
    const Op op = graph[head].op;
    while (fuse && opInfo(op).isProduct() && readers[static_cast<size_t>(call.result)] == 1) {
      const UnitId next = reader[static_cast<size_t>(call.result)];
      const Unit& after = graph[next];
      if (after.op == Op::Activation && op == Op::Linear && call.activation == Activation::None) {
        call.activation = after.attributes.activation;
      } else if (after.op == Op::Geglu && op == Op::Linear && call.activation == Activation::None &&
                 hasWholePanels(graph, head, panelRows)) {
        call.activation = Activation::Gelu;
        call.gated = true;
      } else if (after.op == Op::Add) {
        const UnitId other = after.inputs[after.inputs[0] == call.result ? 1 : 0];
        if (ready[static_cast<size_t>(other)] >= head) break;  // not computed yet; maybe that one can take the sum in
        call.residual = other;
      } else {
        break;
      }
      call.result = next;
      taken[static_cast<size_t>(next)] = true;
      ready[static_cast<size_t>(next)] = head;
      if (call.residual != kNoUnit || call.gated) break;  // the last thing an epilogue does
    }
    calls.push_back(call);
  }
  return calls;
}

}  // namespace asdm

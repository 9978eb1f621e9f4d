#include "graph/constants.h"

#include <algorithm>

#include "core/memory.h"
#include "graph/macs.h"
#include "graph/shapes.h"

namespace asdm {

namespace {

// Those that units read which depend on other inputs too.
std::vector<UnitId> readConstants(const Graph& graph) {
  const std::vector<bool> constant = constantUnits(graph);
  std::vector<bool> wanted(constant.size());
  for (size_t u = 0; u < constant.size(); u++)
    if (!constant[u])
      for (UnitId in : graph.units[u].inputs)
        if (constant[static_cast<size_t>(in)] && graph[in].op != Op::Input) wanted[static_cast<size_t>(in)] = true;
  std::vector<UnitId> values;
  for (size_t u = 0; u < wanted.size(); u++)
    if (wanted[u]) values.push_back(static_cast<UnitId>(u));
  return values;
}

}  // namespace

std::vector<bool> constantUnits(const Graph& graph) {
  std::vector<bool> constant(graph.units.size());
  for (UnitId input : graph.constantInputs) constant[static_cast<size_t>(input)] = true;
  for (size_t u = 0; u < constant.size(); u++) {
    const std::vector<UnitId>& inputs = graph.units[u].inputs;
    if (!inputs.empty())
      constant[u] = std::all_of(inputs.begin(), inputs.end(), [&](UnitId in) { return constant[static_cast<size_t>(in)]; });
  }
  return constant;
}

Status compileConstants(const Graph& graph, const KernelTable& table, const std::vector<Shape>& inputs,
                        const std::vector<Shape>& halfInputs, int threads, uint64_t begin, RequestConstants* constants) {
  RequestConstants made;
  const std::vector<UnitId> values = readConstants(graph);
  std::vector<Shape> shapes;
  ASDM_TRY(inferShapes(graph, inputs, &shapes));
  for (UnitId value : values) {
    const auto bytes = static_cast<uint64_t>(shapes[static_cast<size_t>(value)].count() * dtypeBytes(table.activations));
    made.whole.push_back({value, begin + made.bytes, true});
    made.half.push_back({value, begin + made.bytes + bytes / 2, true});
    made.bytes += alignUp(bytes, table.traits->alignment);
  }
  const auto compute = [&](const std::vector<Shape>& from, std::vector<KeptValue> kept, Program* program) {
    for (KeptValue& each : kept) each.inherited = false;
    return compile(graph, table, CompileRequest{from, {}, threads, true, std::move(kept)}, program);
  };
  if (made.any()) {
    ASDM_TRY(compute(inputs, made.whole, &made.computeWhole));
    if (!halfInputs.empty()) ASDM_TRY(compute(halfInputs, made.half, &made.computeHalf));
  }
  for (UnitId u : made.computeWhole.units) made.macs += unitMacs(graph, u, made.computeWhole.shapes);
  *constants = std::move(made);
  return Status::good();
}

}  // namespace asdm

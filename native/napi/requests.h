// The requests of lib/native/binding.ts as plain structs. Types and ranges are checked here; what a config or a shape means is
// checked by graph/ and runtime/.
#pragma once

#include "graph/graph.h"
#include "graph/run_plan.h"
#include "napi/convert.h"

namespace asdm::napi {

// UNets that share a run.
constexpr size_t kRunUNets = 16;

ModelSpec modelSpec(const Value& value);
ModelOptions modelOptions(const Value& value);
int threadCount(const Value& value);  // of the same options
std::string cachePath(const Value& value);  // empty where it is missing
std::vector<WeightSource> weightSources(const Value& value);
ForwardShape forwardShape(const Value& value);
std::vector<std::string> tapList(const Value& value);
// The steps, and beside them { probes, maps }; both of which may be undefined.
RunSpec runSpec(const Value& steps, const Value& more);
std::vector<size_t> probeNumbers(const Value& value);
// Names of a graph's inputs.
std::vector<std::string> inputNames(const Graph& graph);
// Values by these names, all or some of them. Large ones are left to be copied, as `large` then says.
HostInputs hostInputs(const Value& value, const std::vector<std::string>& names, std::vector<LargeInput>* large);
// { values, clipSkip, taps, profile }
ForwardInputs forwardInputs(const Value& value, const std::vector<std::string>& names, std::vector<LargeInput>* large);

}  // namespace asdm::napi

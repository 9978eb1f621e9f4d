// The requests of lib/native/binding.ts as plain structs. Types and ranges are checked here; what a config or a shape means is
// checked by graph/ and runtime/.
#pragma once

#include "graph/configs.h"
#include "graph/run_plan.h"
#include "napi/convert.h"

namespace asdm::napi {

ModelSpec modelSpec(const Value& value);
ModelOptions modelOptions(const Value& value);
std::vector<WeightSource> weightSources(const Value& value);
ForwardShape forwardShape(const Value& value);
std::vector<std::string> tapList(const Value& value);
std::vector<RunStep> runSteps(const Value& value);
ForwardInputs forwardInputs(const Value& value, ModelKind kind);

}  // namespace asdm::napi

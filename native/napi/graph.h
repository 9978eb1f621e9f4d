// A graph as a JavaScript value (GraphInfo of lib/native/binding.ts), for those who write it down in another format.
#pragma once

#include "graph/graph.h"
#include "napi/js.h"

namespace asdm::napi {

napi_value graphInfo(napi_env env, const Graph& graph);

}  // namespace asdm::napi

// The JavaScript object behind NativeRun (lib/native/binding.ts), RawRun in lib/native/wrap.ts: passes that hand features on, made on a model's
// thread, and the only owner of what they hand on.
#pragma once

#include <memory>
#include <vector>

#include "napi/js.h"
#include "napi/worker.h"

namespace asdm::napi {

// Compiles a run of these models on the first one's thread. Gives the call's number; settle is told of the run.
napi_value startRun(napi_env env, std::vector<std::shared_ptr<Worker>> workers, const ForwardShape& shape, RunSpec spec, napi_value settle);

}  // namespace asdm::napi

// What native calls give back, as JavaScript values of lib/native/binding.ts.
#pragma once

#include "napi/environment.h"

namespace asdm::napi {

napi_value loadResult(napi_env env, const LoadResult& result);
napi_value weightRequests(napi_env env, const std::vector<WeightRequest>& requests);
// { ids, info }
napi_value runInfo(napi_env env, const std::vector<uint64_t>& ids, const RunInfo& info);
napi_value numbers(napi_env env, const std::vector<double>& values);
napi_value programInfo(napi_env env, const ProgramInfo& info);
// Copies into fresh arrays. Throws Failure(OutOfMemory) where JavaScript cannot have an array of that size.
napi_value forwardOutputs(const Environment& state, const ForwardOutputs& outputs);

}  // namespace asdm::napi

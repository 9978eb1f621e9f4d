// What native calls give back, as JavaScript values of lib/native/binding.ts.
#pragma once

#include "napi/environment.h"

namespace asdm::napi {

napi_value loadResult(napi_env env, const LoadResult& result);
napi_value weightRequests(napi_env env, const std::vector<WeightRequest>& requests);
napi_value runInfo(napi_env env, const RunInfo& info);
napi_value numbers(napi_env env, const std::vector<double>& values);
napi_value programInfo(napi_env env, const ProgramInfo& info);
// A copy in a fresh array. Throws Failure(OutOfMemory) where JavaScript cannot have one of that size.
napi_value floatArray(Environment& state, const float* values, size_t count);
// The same of a tensor, if it is not one of the large ones, which were copied to arrays of theirs.
napi_value tensor(Environment& state, const HostTensor& host, const std::vector<LargeOutput>& large = {});
// Which outputs are to be copied on the model's thread; to be called there.
std::vector<LargeOutput> largeOutputs(ForwardOutputs& outputs);
napi_value forwardOutputs(Environment& state, const ForwardOutputs& outputs, const std::vector<LargeOutput>& large);

}  // namespace asdm::napi

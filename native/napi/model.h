// The JavaScript class behind NativeModel (lib/native/binding.ts). Its methods are those of RawModel in lib/native/wrap.ts: what takes
// long takes a function `settle` and gives the call's number, for the addon's cancel(number). progress(done, total) tells of bytes;
// settle(null, result) or settle(code, message) is called exactly once, later, unless the environment ends first. wrap.ts makes promises
// of them.
#pragma once

#include "napi/js.h"

namespace asdm::napi {

// Defines the class and keeps it in the environment.
void defineModelClass(napi_env env);
// createModel(spec, options)
napi_value createModel(napi_env env, napi_callback_info info);

}  // namespace asdm::napi

// The JavaScript class behind NativeModel (lib/native/binding.ts). Methods:
//   cpu, weights(), tapNames(), describe(shape, taps?), trim(), dispose() as there;
//   load(sources, progress | undefined, settle) and forward(inputs, settle) -> call number, for cancel(number).
// progress(done, total) tells of bytes; settle(null, result) or settle(code, message) is called exactly once, later, unless the
// environment ends first. lib/native/wrap.ts makes promises of them.
#pragma once

#include "napi/js.h"

namespace asdm::napi {

// Defines the class and keeps it in the environment.
void defineModelClass(napi_env env);
// createModel(spec, options)
napi_value createModel(napi_env env, napi_callback_info info);

}  // namespace asdm::napi

// Node-API calls whose failures become C++ exceptions, and the way back. The plain C interface is used on purpose: node-addon-api
// ends the process where a call fails in a worker thread that is being terminated, and such failures are ordinary here.
// No other folder but testing/ includes a Node-API header.
#pragma once

#ifndef NAPI_VERSION
#define NAPI_VERSION 8
#endif
#include <node_api.h>

#include <exception>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "core/status.h"

namespace asdm::napi {

// Becomes a JavaScript Error with `code` and `message`, which lib/native/wrap.ts makes an AsdmError.
struct Failure {
  Status status;
  napi_value cause = nullptr;  // what a getter threw
};

// A JavaScript exception is pending or the environment is going down: nothing more to say, return to JavaScript.
struct Unwind {};

// The spelling of lib/base/errors.ts; "ABORTED" for Code::Aborted.
const char* codeName(Code code);

void check(napi_env env, napi_status status);
// As check, where the call ran the caller's code (a getter, a proxy trap): what it threw becomes the cause of a Failure.
void checkUserCode(napi_env env, napi_status status, const std::string& what);

// Throws Failure unless the status is ok.
inline void require(const Status& status) {
  if (!status.ok()) throw Failure{status};
}

// The sentence, shortened in its middle where a name in it is absurdly long.
std::string sentence(const Status& status);
void throwToJs(napi_env env, const Failure& failure) noexcept;

napi_value undefined(napi_env env);
napi_value null(napi_env env);
napi_value string(napi_env env, const std::string& text);
napi_value number(napi_env env, double value);
napi_value object(napi_env env);
napi_value strings(napi_env env, const std::vector<std::string>& list);
napi_value shape(napi_env env, const std::vector<int64_t>& dims);
void set(napi_env env, napi_value target, const char* key, napi_value value);

// Arguments of a call (missing ones are undefined), its `this` and the data pointer of its function.
template <size_t N>
struct Arguments {
  napi_value values[N ? N : 1];
  napi_value self = nullptr;
  void* data = nullptr;
  Arguments(napi_env env, napi_callback_info info) {
    size_t count = N;
    check(env, napi_get_cb_info(env, info, &count, values, &self, &data));
  }
  napi_value operator[](size_t i) const { return values[i]; }
};

// The status for the exception being handled; for use inside a catch (...) of code that runs no JavaScript.
Status statusOfException() noexcept;

// Makes a Node-API callback of a function that may throw: whatever leaves it, the process goes on.
template <napi_value (*function)(napi_env, napi_callback_info)>
napi_value guarded(napi_env env, napi_callback_info info) noexcept {
  try {
    return function(env, info);
  } catch (const Failure& failure) {
    throwToJs(env, failure);
  } catch (const Unwind&) {
  } catch (...) {
    throwToJs(env, Failure{statusOfException()});
  }
  return nullptr;
}

}  // namespace asdm::napi

// The addon's exports: abi, cpuInfo, createModel, measurePeak. Loaded once per environment; each has its own state (environment.h).
#include "napi/environment.h"
#include "napi/machine.h"
#include "napi/model.h"

namespace asdm::napi {

namespace {

// Raised with every change of the surface; lib/native/binding.ts has the same number.
constexpr int kAbi = 11;

napi_value cpuInfoCall(napi_env env, napi_callback_info) { return cpuInfo(env); }

void exportFunction(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function;
  check(env, napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function));
  set(env, exports, name, function);
}

void initialize(napi_env env, napi_value exports) {
  Environment::install(env);
  defineModelClass(env);
  set(env, exports, "abi", number(env, kAbi));
  exportFunction(env, exports, "cpuInfo", guarded<cpuInfoCall>);
  exportFunction(env, exports, "createModel", guarded<createModel>);
  exportFunction(env, exports, "measurePeak", guarded<measurePeak>);
}

}  // namespace

}  // namespace asdm::napi

NAPI_MODULE_INIT() {
  using namespace asdm::napi;
  try {
    initialize(env, exports);
    return exports;
  } catch (const Failure& failure) {
    throwToJs(env, failure);
  } catch (const Unwind&) {
  } catch (...) {
    throwToJs(env, Failure{statusOfException()});
  }
  return nullptr;
}

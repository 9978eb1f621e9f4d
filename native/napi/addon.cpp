// The addon's exports: abi, cpuInfo, devices, loadDevices, createModel, createTrainer, feed, cancel, measurePeak. Loaded once per environment; each
// has its own state (environment.h).
#include "napi/convert.h"
#include "napi/environment.h"
#include "napi/machine.h"
#include "napi/model.h"
#include "napi/training.h"

namespace asdm::napi {

namespace {

// Raised with every change of the surface; lib/native/binding.ts has the same number.
constexpr int kAbi = 17;

napi_value cpuInfoCall(napi_env env, napi_callback_info) { return cpuInfo(env); }

// feed(): copies a piece of large inputs; true while there is more
napi_value feedCalls(napi_env env, napi_callback_info) {
  napi_value more;
  check(env, napi_get_boolean(env, Environment::of(env).feed(), &more));
  return more;
}

// cancel(number of a call)
napi_value cancelCall(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const int64_t id = Value(env, arguments[0], "call").integer(0, int64_t{1} << 53);
  Environment::of(env).cancel(static_cast<uint64_t>(id));
  return undefined(env);
}

void exportFunction(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function;
  check(env, napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function));
  set(env, exports, name, function);
}

void initialize(napi_env env, napi_value exports) {
  Environment::install(env);
  defineModelClass(env);
  defineTrainerClass(env);
  set(env, exports, "abi", number(env, kAbi));
  exportFunction(env, exports, "cpuInfo", guarded<cpuInfoCall>);
  exportFunction(env, exports, "devices", guarded<deviceList>);
  exportFunction(env, exports, "loadDevices", guarded<loadDevices>);
  exportFunction(env, exports, "createModel", guarded<createModel>);
  exportFunction(env, exports, "createTrainer", guarded<createTrainer>);
  exportFunction(env, exports, "feed", guarded<feedCalls>);
  exportFunction(env, exports, "cancel", guarded<cancelCall>);
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

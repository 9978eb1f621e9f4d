// The machine as the addon's cpuInfo(), devices() and measurePeak() show it.
#pragma once

#include "napi/js.h"

namespace asdm::napi {

napi_value cpuInfo(napi_env env);
// devices() -> [{ name, description, reason }], reason null where the device can be used
napi_value deviceList(napi_env env, napi_callback_info info);
// loadDevices(path of a plugin)
napi_value loadDevices(napi_env env, napi_callback_info info);
napi_value measurePeak(napi_env env, napi_callback_info info);

}  // namespace asdm::napi

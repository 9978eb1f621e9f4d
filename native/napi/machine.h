// The machine as the addon's cpuInfo() and measurePeak() show it.
#pragma once

#include "napi/js.h"

namespace asdm::napi {

napi_value cpuInfo(napi_env env);
napi_value measurePeak(napi_env env, napi_callback_info info);

}  // namespace asdm::napi

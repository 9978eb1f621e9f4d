// The machine as the addon's cpuInfo() shows it.
#pragma once

#include "napi/js.h"

namespace asdm::napi {

napi_value cpuInfo(napi_env env);

}  // namespace asdm::napi

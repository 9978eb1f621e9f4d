// The JavaScript class behind NativeTrainer (lib/native/trainer.ts). Its methods are those of RawTrainer in lib/native/wrap-trainer.ts, which settle
// and are cancelled as a model's (model.h).
#pragma once

#include "napi/js.h"

namespace asdm::napi {

// Defines the class and keeps it in the environment.
void defineTrainerClass(napi_env env);
// createTrainer({ kind: 'unet', config, losses, train, average, textGradient }, { threads, cpu })
napi_value createTrainer(napi_env env, napi_callback_info info);

}  // namespace asdm::napi

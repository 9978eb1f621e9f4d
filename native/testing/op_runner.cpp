#include "testing/op_runner.h"

namespace asdm::testing {

namespace {

// run(op, set, threads, args, dtype: 'fp32' if left out) -> result
Napi::Value run(const Napi::CallbackInfo& info) {
  const std::string dtype = info[4].IsString() ? std::string(info[4].ToString()) : "";
  return runOp(info.Env(), info[0].ToString(), info[1].ToString(), info[2].ToNumber().Int32Value(), info[3].ToObject(), dtype);
}

Napi::Value arrayOf(Napi::Env env, const std::vector<std::string>& names) {
  Napi::Array array = Napi::Array::New(env, names.size());
  for (size_t i = 0; i < names.size(); i++) array.Set(static_cast<uint32_t>(i), names[i]);
  return array;
}

// sets(dtype: 'fp32' if left out) -> names of the usable kernel sets with kernels of their own in this format, best first
Napi::Value sets(const Napi::CallbackInfo& info) {
  return arrayOf(info.Env(), setsWithOwn(info[0].IsString() ? std::string(info[0].ToString()) : ""));
}

// emulatedSets(dtype: 'fp32' if left out) -> names of those that only tests have
Napi::Value emulatedSets(const Napi::CallbackInfo& info) {
  return arrayOf(info.Env(), emulatedSetsOf(info[0].IsString() ? std::string(info[0].ToString()) : ""));
}

// externalMemory() -> bytes outside of its heap that were reported to V8
Napi::Value externalMemory(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(Napi::MemoryManagement::AdjustExternalMemory(info.Env(), 0)));
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("externalMemory", Napi::Function::New(env, externalMemory));
  exports.Set("run", Napi::Function::New(env, run));
  exports.Set("sets", Napi::Function::New(env, sets));
  exports.Set("emulatedSets", Napi::Function::New(env, emulatedSets));
  addGraphTests(env, exports);
  addTileTests(env, exports);
  addTrainingRun(env, exports);
  return exports;
}

}  // namespace

}  // namespace asdm::testing

static Napi::Object initTesting(Napi::Env env, Napi::Object exports) { return asdm::testing::init(env, exports); }

NODE_API_MODULE(asdm_testing, initTesting)

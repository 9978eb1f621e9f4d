#include "testing/op_runner.h"

#include "cpu/registry.h"
#include "testing/tile_sets.h"

namespace asdm::testing {

namespace {

const OpMap& ops() {
  static const OpMap map = [] {
    OpMap all;
    addElementwiseOps(all);
    addMatmulOps(all);
    addNormOps(all);
    addAttentionOps(all);
    return all;
  }();
  return map;
}

DType dtypeOf(const Napi::Value& name) {
  const std::string text = name.IsString() ? std::string(name.ToString()) : "";
  return text == "int8" ? DType::I8 : text == "bf16" ? DType::BF16 : DType::F32;
}

// Is this a set of its own in this format, or are its kernels another set's?
bool hasOwn(const std::string& set, DType dtype) {
  if (dtype == DType::I8) return true;
  if (set == "amx" || set == "avx512bf16") return dtype == DType::BF16;
  return set != "avx512vnni" && set != "avxvnni" && set != "neondot";
}

// run(op, set, threads, args, dtype: 'fp32' if left out) -> result
Napi::Value run(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string op = info[0].ToString(), set = info[1].ToString();
  const auto found = ops().find(op);
  if (found == ops().end()) throw Napi::Error::New(env, "no op " + op);
  const KernelTable* table = tileTable(set, dtypeOf(info[4]));
  const bool emulated = table != nullptr;
  if (!emulated) {
    const Status status = cpu::kernels(set, dtypeOf(info[4]), &table);
    if (!status.ok()) throw Napi::Error::New(env, status.message);
  }
  ThreadPool pool(info[2].ToNumber().Int32Value());
  const WeightFormat format = dtypeOf(info[4]) == DType::I8 ? WeightFormat::I8 : WeightFormat::Native;
  return found->second(OpCall{env, info[3].ToObject(), *table, pool, format, emulated});
}

Napi::Value arrayOf(Napi::Env env, const std::vector<std::string>& names) {
  Napi::Array array = Napi::Array::New(env, names.size());
  for (size_t i = 0; i < names.size(); i++) array.Set(static_cast<uint32_t>(i), names[i]);
  return array;
}

// sets(dtype: 'fp32' if left out) -> names of the usable kernel sets with kernels of their own in this format, best first
Napi::Value sets(const Napi::CallbackInfo& info) {
  const DType dtype = dtypeOf(info[0]);
  std::vector<std::string> names;
  for (const std::string& name : cpu::usableSets())
    if (hasOwn(name, dtype)) names.push_back(name);
  return arrayOf(info.Env(), names);
}

// emulatedSets(dtype: 'fp32' if left out) -> names of those that only tests have
Napi::Value emulatedSets(const Napi::CallbackInfo& info) {
  std::vector<std::string> names;
  for (const std::string& name : tileSets())
    if (tileTable(name, dtypeOf(info[0])) != nullptr) names.push_back(name);
  return arrayOf(info.Env(), names);
}

// externalMemory() -> bytes outside of its heap that V8 has been told of
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
  return exports;
}

}  // namespace

}  // namespace asdm::testing

static Napi::Object initTesting(Napi::Env env, Napi::Object exports) { return asdm::testing::init(env, exports); }

NODE_API_MODULE(asdm_testing, initTesting)

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
    addTrainingOps(all);
    return all;
  }();
  return map;
}

DType dtypeOf(const std::string& name) { return name == "int8" ? DType::I8 : name == "bf16" ? DType::BF16 : DType::F32; }

}  // namespace

std::vector<std::string> setsWithOwn(const std::string& dtype) {
  std::vector<std::string> names;
  for (const std::string& name : cpu::usableSets())
    if (cpu::hasOwnKernels(name, dtypeOf(dtype))) names.push_back(name);
  return names;
}

std::vector<std::string> emulatedSetsOf(const std::string& dtype) {
  std::vector<std::string> names;
  for (const std::string& name : tileSets())
    if (tileTable(name, dtypeOf(dtype)) != nullptr) names.push_back(name);
  return names;
}

Napi::Value runOp(Napi::Env env, const std::string& op, const std::string& set, int threads, const Napi::Object& args,
                  const std::string& dtype) {
  const auto found = ops().find(op);
  if (found == ops().end()) throw Napi::Error::New(env, "no op " + op);
  const KernelTable* table = tileTable(set, dtypeOf(dtype));
  const bool emulated = table != nullptr;
  if (!emulated) {
    const Status status = cpu::kernels(set, dtypeOf(dtype), &table);
    if (!status.ok()) throw Napi::Error::New(env, status.message);
  }
  ThreadPool pool(threads);
  const WeightFormat format = dtypeOf(dtype) == DType::I8 ? WeightFormat::I8 : WeightFormat::Native;
  return found->second(OpCall{env, args, *table, pool, format, emulated});
}

}  // namespace asdm::testing

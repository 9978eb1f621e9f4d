// What native/testing/op_call.cpp is for the CPU's kernels, for those of CUDA on the emulated card: with it, testing/op_*.cpp and
// testing/remote/main.cpp make the program that test/ops runs against (scripts/cuda.mjs). `threads` seeds the order of emulated threads.
#include "cuda/emulation/machine.h"
#include "cuda/kernels/tables.h"
#include "cuda/testing/emulation_ops.h"
#include "testing/op_runner.h"

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

DType dtypeOf(const std::string& name) { return name == "int8" ? DType::I8 : name == "bf16" ? DType::BF16 : DType::F32; }

}  // namespace

// Floats are computed by one set's kernels in both.
std::vector<std::string> setsWithOwn(const std::string& dtype) {
  if (dtypeOf(dtype) == DType::F32) return {"sm75"};
  return cuda::kernelSets();
}
std::vector<std::string> emulatedSetsOf(const std::string&) { return {}; }

Napi::Value runOp(Napi::Env env, const std::string& op, const std::string& set, int threads, const Napi::Object& args,
                  const std::string& dtype) {
  cuda::emulation::Machine& machine = cuda::emulation::machine();
  machine.takeFault();
  machine.counts.clear();
  machine.options = {};
  machine.options.seed = static_cast<uint64_t>(threads);
  if (const auto emulation = cuda::testing::emulationOp(op)) return emulation(env, args);
  const auto found = ops().find(op);
  if (found == ops().end()) throw Napi::Error::New(env, "no op " + op);
  // Some tests name the set that runs anywhere.
  const KernelTable* const table = cuda::kernelTable(set == "portable" ? "sm75" : set, dtypeOf(dtype));
  if (table == nullptr) throw Napi::Error::New(env, "no set " + set);
  // Counting has tests of its own.
  machine.options.counts = false;
  ThreadPool pool(1);
  const WeightFormat format = dtypeOf(dtype) == DType::I8 ? WeightFormat::I8 : WeightFormat::Native;
  const Napi::Value result = found->second(OpCall{env, args, *table, pool, format, false});
  const std::string fault = machine.takeFault();
  if (!fault.empty()) throw Napi::Error::New(env, op + " on " + set + ": " + fault);
  return result;
}

}  // namespace asdm::testing

#include "cuda/testing/emulation_ops.h"

#include <cstring>
#include <map>
#include <vector>

#include "cuda/kernels/numbers.h"
#include "cuda/testing/broken_kernels.h"

namespace asdm::cuda::testing {

namespace {

using emulation::machine;
using emulation::Span;

std::vector<float> floatsOf(const Napi::Object& args, const char* name) {
  const auto array = args.Get(name).As<Napi::Float32Array>();
  return std::vector<float>(array.Data(), array.Data() + array.ElementLength());
}

Napi::Value resultOf(Napi::Env env, const std::vector<float>& values) {
  auto array = Napi::Float32Array::New(env, values.size());
  if (!values.empty()) std::memcpy(array.Data(), values.data(), values.size() * sizeof(float));
  return array;
}

void throwFault(Napi::Env env) {
  const std::string fault = machine().takeFault();
  if (!fault.empty()) throw Napi::Error::New(env, fault);
}

void allow(const void* data, size_t bytes, bool writable, std::vector<Span>* spans) {
  spans->push_back({static_cast<const unsigned char*>(data), bytes, writable, writable ? "out" : "in"});
}

Napi::Value fault(Napi::Env env, const Napi::Object& args) {
  const std::string name = args.Get("kernel").ToString();
  if (!runBroken(name)) throw Napi::Error::New(env, "no kernel " + name);
  throwFault(env);
  return resultOf(env, {});
}

// One warp, whose lanes bring their registers and take them away.
struct WarpParams {
  int what;  // 0, 1: loadMatrix, transposed; 2: mma; 3: mmaBytes
  const uint32_t* in;
  uint32_t* out;
};
struct Warp {
  using Params = WarpParams;
  static constexpr const char* kName = "warp";
  static constexpr int kThreads = 32, kBlocks = 1;
  static void run(const Params& p) {
    const int i = lane();
    if (p.what < 2) {
      sharedStore(static_cast<uint32_t>(i) * 16, load(reinterpret_cast<const Words4*>(p.in + i * 4)));
      warpSync();
      uint32_t r[4];
      if (p.what == 0) loadMatrix(r, static_cast<uint32_t>(i) * 16);
      else loadMatrixTransposed(r, static_cast<uint32_t>(i) * 16);
      for (int j = 0; j < 4; j++) store(p.out + i * 4 + j, r[j]);
      return;
    }
    uint32_t in[10];
    for (int j = 0; j < 10; j++) in[j] = load(p.in + i * 10 + j);
    const uint32_t a[4] = {in[0], in[1], in[2], in[3]};
    if (p.what == 2) {
      float d[4];
      for (int j = 0; j < 4; j++) d[j] = bitsAs<float>(in[6 + j]);
      mma(d, a, in[4], in[5]);
      for (int j = 0; j < 4; j++) store(p.out + i * 4 + j, bitsAs<uint32_t>(d[j]));
    } else {
      int32_t d[4];
      for (int j = 0; j < 4; j++) d[j] = static_cast<int32_t>(in[6 + j]);
      mmaBytes(d, a, in[4], in[5]);
      for (int j = 0; j < 4; j++) store(p.out + i * 4 + j, static_cast<uint32_t>(d[j]));
    }
  }
};

// Registers in, registers out, each [32 lanes][...].
std::vector<uint32_t> runWarp(Napi::Env env, int what, const std::vector<uint32_t>& in) {
  alignas(16) uint32_t input[320] = {}, output[128] = {};
  std::memcpy(input, in.data(), in.size() * 4);
  std::vector<Span> spans;
  allow(output, sizeof output, true, &spans);
  allow(input, sizeof input, false, &spans);
  machine().setMemory(spans);
  Stream stream;
  launch<Warp>(stream, Grid{1}, 512, WarpParams{what, input, output});
  throwFault(env);
  return std::vector<uint32_t>(output, output + 128);
}

// rows: 32 rows (of four matrices) of 8 numbers, each a small integer. The words' halves, low first.
Napi::Value matrices(Napi::Env env, const Napi::Object& args) {
  const std::vector<float> x = floatsOf(args, "x");
  std::vector<uint32_t> in(128);
  for (size_t i = 0; i < 256; i++) in[i / 2] |= static_cast<uint32_t>(x[i]) << (16 * (i % 2));
  std::vector<float> out;
  for (const uint32_t word : runWarp(env, args.Get("transposed").ToBoolean() ? 1 : 0, in)) {
    out.push_back(static_cast<float>(word & 0xffff));
    out.push_back(static_cast<float>(word >> 16));
  }
  return resultOf(env, out);
}

// registers: what each lane holds, [32][numbers of a, of b, of d] in the order of the ISA's tables, as the test put them there.
Napi::Value multiply(Napi::Env env, const Napi::Object& args, bool bytes) {
  const int perWord = bytes ? 4 : 2, each = 6 * perWord + 4;
  const std::vector<float> x = floatsOf(args, "registers");
  std::vector<uint32_t> in(320);
  for (int i = 0; i < 32; i++) {
    const float* const mine = x.data() + i * each;
    for (int j = 0; j < 6 * perWord; j++) {
      const uint32_t number = bytes ? static_cast<uint32_t>(static_cast<int32_t>(mine[j])) & 0xff : Rounded<Bf16>::of(mine[j]).bits;
      in[static_cast<size_t>(i * 10 + j / perWord)] |= number << (32 / perWord * (j % perWord));
    }
    for (int j = 0; j < 4; j++) {
      const float d = mine[6 * perWord + j];
      in[static_cast<size_t>(i * 10 + 6 + j)] = bytes ? static_cast<uint32_t>(static_cast<int32_t>(d)) : bitsAs<uint32_t>(d);
    }
  }
  std::vector<float> out;
  for (const uint32_t word : runWarp(env, bytes ? 3 : 2, in))
    out.push_back(bytes ? static_cast<float>(static_cast<int32_t>(word)) : bitsAs<float>(word));
  return resultOf(env, out);
}
Napi::Value mmaOp(Napi::Env env, const Napi::Object& args) { return multiply(env, args, false); }
Napi::Value mmaBytesOp(Napi::Env env, const Napi::Object& args) { return multiply(env, args, true); }

Napi::Value wavefrontsOf(Napi::Env env, const Napi::Object& args) {
  std::vector<uint32_t> offsets;
  for (const float offset : floatsOf(args, "offsets")) offsets.push_back(static_cast<uint32_t>(offset));
  const auto bytes = static_cast<uint32_t>(args.Get("bytes").ToNumber().Int64Value());
  return resultOf(env, {static_cast<float>(emulation::wavefronts(offsets, bytes))});
}

Napi::Value countsOf(Napi::Env env, const Napi::Object& args) {
  const std::string name = args.Get("kernel").ToString();
  if (!runBroken(name)) throw Napi::Error::New(env, "no kernel " + name);
  throwFault(env);
  std::vector<float> out;
  for (const auto& kernel : machine().counts.byKernel)
    for (const double count : {kernel.second.globalRequests, kernel.second.globalSectors, kernel.second.sharedRequests,
                               kernel.second.sharedWavefronts, kernel.second.barriers, kernel.second.mma})
      out.push_back(static_cast<float>(count));
  return resultOf(env, out);
}

}  // namespace

EmulationOp emulationOp(const std::string& name) {
  static const std::map<std::string, EmulationOp> all = {{"fault", fault},         {"loadMatrix", matrices},     {"mma", mmaOp},
                                                         {"mmaBytes", mmaBytesOp}, {"wavefronts", wavefrontsOf}, {"counts", countsOf}};
  const auto found = all.find(name);
  return found == all.end() ? nullptr : found->second;
}

}  // namespace asdm::cuda::testing

// The testing addon: runs single kernels of any set from JavaScript, with guarded outputs and poisoned scratch.
// Each op_*.cpp adds its ops to the map of op_call.cpp; op_runner.cpp exports them. Not part of the published package.
// But for op_runner.cpp these files also compile against remote/napi.h, for CPUs without Node; only what that has may be used here.
#pragma once

#include <napi.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/kernels.h"
#include "core/bf16.h"
#include "core/memory.h"
#include "cpu/queue.h"
#include "testing/tile_emulation.h"

namespace asdm::testing {

// An input copied to memory of exactly its size (a sanitizer build sees any read past its end).
class Input {
 public:
  Input(const Napi::Object& args, const char* name) {
    const Napi::Value value = args.Get(name);
    if (!value.IsTypedArray()) return;
    const auto array = value.As<Napi::Float32Array>();
    count_ = array.ElementLength();
    data_.reset(new float[count_ ? count_ : 1]);
    std::memcpy(data_.get(), array.Data(), count_ * sizeof(float));
  }
  const float* data() const { return count_ ? data_.get() : nullptr; }  // null when the argument is absent
  float* mutableData() { return count_ ? data_.get() : nullptr; }
  size_t count() const { return count_; }

 private:
  std::unique_ptr<float[]> data_;
  size_t count_ = 0;
};

// An input of activations: numbers rounded to the table's format, in memory of exactly their size.
class Activations {
 public:
  Activations(const Napi::Object& args, const char* name, DType dtype) : floats_(args, name), dtype_(dtype) {
    if (dtype != DType::BF16) return;
    rounded_.reset(new Bf16[floats_.count() ? floats_.count() : 1]);
    for (size_t i = 0; i < floats_.count(); i++) rounded_[i] = toBf16(floats_.data()[i]);
  }
  size_t count() const { return floats_.count(); }
  // Null when the argument is absent.
  const void* data() const {
    if (count() == 0) return nullptr;
    return dtype_ == DType::BF16 ? static_cast<const void*>(rounded_.get()) : floats_.data();
  }

 private:
  Input floats_;
  DType dtype_;
  std::unique_ptr<Bf16[]> rounded_;
};

// Bytes with sentinels on both sides, filled with NaN (0xff).
class Guarded {
 public:
  explicit Guarded(size_t bytes) : bytes_(bytes) {
    block_.allocate(2 * kMargin + alignUp(bytes + 1));
    std::memset(block_.data(), kSentinel, block_.bytes());
    std::memset(data(), 0xff, bytes);
  }
  std::byte* data() const { return block_.data() + kMargin; }
  float* floats() const { return reinterpret_cast<float*>(data()); }
  // True while nothing outside [0, bytes) was written.
  bool intact() const {
    const auto* all = reinterpret_cast<const unsigned char*>(block_.data());
    for (size_t i = 0; i < kMargin; i++)
      if (all[i] != kSentinel) return false;
    for (size_t i = kMargin + bytes_; i < block_.bytes(); i++)
      if (all[i] != kSentinel) return false;
    return true;
  }
  size_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kMargin = 4096;
  static constexpr unsigned char kSentinel = 0xa5;
  size_t bytes_;
  Block block_;
};

struct OpCall {
  Napi::Env env;
  Napi::Object args;
  const KernelTable& table;
  ThreadPool& pool;
  WeightFormat format;  // of products' weights
  bool emulated;        // the table's set computes in emulated tile registers

  // Of a product: floats where it is to be `wide`.
  WeightFormat weightFormat() const { return flag("wide") ? WeightFormat::F32 : format; }
  int64_t integer(const char* name) const { return args.Get(name).ToNumber().Int64Value(); }
  int64_t integerOr(const char* name, int64_t fallback) const { return args.Has(name) ? integer(name) : fallback; }
  float number(const char* name) const { return args.Get(name).ToNumber().FloatValue(); }
  bool flag(const char* name) const { return args.Get(name).ToBoolean(); }
  std::string text(const char* name) const { return args.Get(name).ToString(); }

  Activations activations(const char* name) const { return Activations(args, name, table.activations); }
  // Room for so many activations.
  Guarded output(int64_t count) const { return Guarded(static_cast<size_t>(count * dtypeBytes(table.activations))); }

  // Runs a kernel with its scratch poisoned and guarded; throws a JavaScript error when it wrote outside of it.
  template <class Args>
  void run(const Kernel<Args>& kernel, const Args& kernelArgs) const {
    if (kernel.run == nullptr) throw Napi::Error::New(env, "the table has no such kernel");
    Guarded scratch(kernel.scratch ? kernel.scratch(kernelArgs, pool.threads()) : 0);
    cpu::CpuQueue queue(pool);
    queue.setScratch(scratch.data());
    const TileWatch watch(emulated);
    kernel.run(kernelArgs, queue);
    if (!scratch.intact()) throw Napi::Error::New(env, "kernel wrote outside its scratch");
    if (const char* fault = watch.fault()) throw Napi::Error::New(env, fault);
  }
  // Copies an output out, as floats; throws when its sentinels were touched.
  Napi::Value result(const Guarded& output) const { return values(output, table.activations); }
  // Two outputs, one behind the other.
  Napi::Value both(const Guarded& first, const Guarded& second) const {
    const auto a = result(first).As<Napi::Float32Array>(), b = result(second).As<Napi::Float32Array>();
    Napi::Float32Array all = Napi::Float32Array::New(env, a.ElementLength() + b.ElementLength());
    std::memcpy(all.Data(), a.Data(), a.ByteLength());
    std::memcpy(all.Data() + a.ElementLength(), b.Data(), b.ByteLength());
    return all;
  }
  Napi::Value values(const Guarded& output, DType dtype) const {
    if (!output.intact()) throw Napi::Error::New(env, "kernel wrote outside its output");
    if (dtype == DType::BF16) {
      const auto* from = reinterpret_cast<const Bf16*>(output.data());
      Napi::Float32Array widened = Napi::Float32Array::New(env, output.bytes() / sizeof(Bf16));
      for (size_t i = 0; i < widened.ElementLength(); i++) widened[i] = toFloat(from[i]);
      return widened;
    }
    Napi::Float32Array array = Napi::Float32Array::New(env, output.bytes() / sizeof(float));
    std::memcpy(array.Data(), output.data(), output.bytes());
    return array;
  }
  void pack(const PackArgs& packArgs) const {
    cpu::CpuQueue queue(pool);
    table.pack(packArgs, queue);
  }
  void unpack(const UnpackArgs& unpackArgs) const {
    cpu::CpuQueue queue(pool);
    table.unpack(unpackArgs, queue);
  }
  // Packs a PyTorch-ordered weight [n][channels][area], in two pieces and out of order, as the loader may.
  Guarded pack(const Input& weight, const WeightShape& shape) const {
    Guarded packed(table.packedBytes(shape));
    const int64_t split = shape.n / 2, row = shape.k();
    const PackArgs second{shape, weight.data() + split * row, split, shape.n - split, packed.data()};
    const PackArgs first{shape, weight.data(), 0, split, packed.data()};
    pack(second);
    if (split > 0) pack(first);
    if (!packed.intact()) throw Napi::Error::New(env, "packing wrote outside the packed block");
    return packed;
  }
  Activation activation(const char* name) const {
    if (!args.Has(name)) return Activation::None;
    const std::string kind = text(name);
    if (kind == "silu") return Activation::Silu;
    if (kind == "gelu") return Activation::Gelu;
    if (kind == "quick_gelu") return Activation::QuickGelu;
    if (kind == "relu") return Activation::Relu;
    if (kind == "soft_clamp") return Activation::SoftClamp;
    if (kind == "from_signed") return Activation::FromSigned;
    if (kind == "to_signed") return Activation::ToSigned;
    return Activation::None;
  }
};

using OpFunction = Napi::Value (*)(const OpCall&);
using OpMap = std::map<std::string, OpFunction>;

void addElementwiseOps(OpMap&);  // op_elementwise.cpp
void addMatmulOps(OpMap&);       // op_matmul.cpp
void addNormOps(OpMap&);         // op_norm.cpp
void addAttentionOps(OpMap&);    // op_attention.cpp
void addTrainingOps(OpMap&);     // op_training.cpp

// The geometry of a convolution, as op_matmul.cpp says; pointers stay null.
ConvArgs convArgs(const OpCall&);

// Runs one op; a number format is 'bf16' or 'int8', anything else is float32 (op_call.cpp).
Napi::Value runOp(Napi::Env env, const std::string& op, const std::string& set, int threads, const Napi::Object& args,
                  const std::string& dtype);
// The usable kernel sets with kernels of their own in a format, best first; and those that only tests have.
std::vector<std::string> setsWithOwn(const std::string& dtype);
std::vector<std::string> emulatedSetsOf(const std::string& dtype);

// The emulated tile registers by themselves (op_tiles.cpp).
void addTileTests(Napi::Env env, Napi::Object exports);

// A UNet's training (training_run.cpp).
void addTrainingRun(Napi::Env env, Napi::Object exports);

// Graph and program properties on random graphs, native parts only; exported beside the ops (graph_properties.cpp).
void addGraphTests(Napi::Env env, Napi::Object exports);

}  // namespace asdm::testing

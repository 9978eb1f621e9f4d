// What ops of real sizes ask of a card: runs a few blocks of each launch on the emulated one and scales their counts to the grid. For
// bench/cuda/model.ts.
//
// Input: a line for each op, its name and numbers as key=value (opOf below has them). Output: a line of JSON for each, {"bytes": what the
// op's contract lets it touch, "kernels": [{name, launches, blocks, threads, ...}]}, or {"error": "..."}.
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <sys/mman.h>

#include "core/bf16.h"
#include "cuda/emulation/machine.h"
#include "cuda/kernels/issue.h"
#include "cuda/kernels/spans.h"

namespace {

using namespace asdm;
using namespace asdm::cuda;

constexpr int64_t kSampledBlocks = 3;

// Zeroed memory that takes no room until it is touched.
class Memory {
 public:
  Memory()
      : data_(static_cast<unsigned char*>(
            mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {}
  ~Memory() { munmap(data_, kBytes); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void* take(size_t bytes) {
    unsigned char* const at = data_ + used_;
    used_ += (bytes + 255) / 256 * 256;
    return at;
  }
  Bf16* half(int64_t count) { return static_cast<Bf16*>(take(static_cast<size_t>(count) * 2)); }
  float* floats(int64_t count) { return static_cast<float*>(take(static_cast<size_t>(count) * 4)); }

 private:
  static constexpr size_t kBytes = size_t{1} << 36;
  unsigned char* data_;
  size_t used_ = 0;
};

using Numbers = std::map<std::string, int64_t>;

struct Runner {
  Memory memory;
  Stream stream;
  size_t bytes = 0;

  template <class Args>
  void run(const Args& a, void (*issue)(const Args&, Issue&), size_t scratchBytes) {
    emulation::Spans spans(DType::BF16);
    spans.of(a);
    auto* const scratch = static_cast<std::byte*>(memory.take(scratchBytes));
    spans.scratch(scratch, scratchBytes);
    std::vector<emulation::Span> all = spans.take();
    for (const emulation::Span& span : all)
      if (span.data != reinterpret_cast<unsigned char*>(scratch)) bytes += span.bytes;
    stream.machine->setMemory(all);
    Issue to{stream, scratch};
    issue(a, to);
  }
};

WeightFormat formatOf(const Numbers& n) {
  const int64_t format = n.count("format") != 0 ? n.at("format") : 0;
  return format == 1 ? WeightFormat::I8 : format == 2 ? WeightFormat::F32 : WeightFormat::Native;
}

int64_t numberOr(const Numbers& n, const char* name, int64_t fallback) { return n.count(name) != 0 ? n.at(name) : fallback; }

// linear m n k format? gated? residual?; conv n h w c co kernel stride? double? format? residual? rowBias?; attention batch heads q k dim;
// groupNorm n rows c; layerNorm rows c; concat rows ca cb. format: 0 bf16, 1 int8, 2 fp32.
bool runOp(const std::string& op, const Numbers& n, Runner* r) {
  if (op == "linear") {
    LinearArgs a{};
    a.m = n.at("m");
    a.shape = {n.at("n"), n.at("k"), 1, formatOf(n)};
    a.gated = numberOr(n, "gated", 0) != 0;
    a.ldx = a.shape.channels;
    a.ldy = a.ldr = a.width();
    a.x = r->memory.half(a.m * a.ldx);
    a.weight = r->memory.take(packedBytes(a.shape, DType::BF16));
    a.bias = r->memory.floats(a.shape.n);
    a.activation = a.gated ? Activation::Gelu : Activation::None;
    if (numberOr(n, "residual", 0) != 0) a.residual = r->memory.half(a.m * a.ldr);
    a.y = r->memory.half(a.m * a.ldy);
    if (a.shape.format == WeightFormat::I8) r->run(a, &ByteProducts<true>::linear, ByteProducts<true>::linearScratch(a));
    else if (a.shape.format == WeightFormat::F32)
      r->run(a, &FloatProducts<Bf16, float>::linear, FloatProducts<Bf16, float>::linearScratch(a));
    else r->run(a, &HalfProducts::linear, HalfProducts::linearScratch(a));
  } else if (op == "conv") {
    ConvArgs a{};
    a.n = n.at("n");
    a.h = n.at("h");
    a.w = n.at("w");
    a.kernelH = a.kernelW = n.at("kernel");
    a.stride = numberOr(n, "stride", 1);
    a.padTop = a.padLeft = a.kernelH / 2;
    if (numberOr(n, "double", 0) != 0) {
      a.resizeH = 2 * a.h;
      a.resizeW = 2 * a.w;
    }
    a.outH = ((a.resizeH > 0 ? a.resizeH : a.h) - 1) / a.stride + 1;
    a.outW = ((a.resizeW > 0 ? a.resizeW : a.w) - 1) / a.stride + 1;
    a.shape = {n.at("co"), n.at("c"), a.kernelH * a.kernelW, formatOf(n)};
    const int64_t out = a.n * a.outH * a.outW * a.shape.n;
    a.x = r->memory.half(a.n * a.h * a.w * a.shape.channels);
    a.weight = r->memory.take(packedBytes(a.shape, DType::BF16));
    a.bias = r->memory.floats(a.shape.n);
    a.ldRowBias = a.shape.n;
    if (numberOr(n, "rowBias", 0) != 0) a.rowBias = r->memory.half(a.n * a.shape.n);
    if (numberOr(n, "residual", 0) != 0) a.residual = r->memory.half(out);
    a.y = r->memory.half(out);
    if (a.shape.format == WeightFormat::I8) r->run(a, &ByteProducts<true>::conv, ByteProducts<true>::convScratch(a));
    else if (a.shape.format == WeightFormat::F32) r->run(a, &FloatProducts<Bf16, float>::conv, FloatProducts<Bf16, float>::convScratch(a));
    else r->run(a, &HalfProducts::conv, HalfProducts::convScratch(a));
  } else if (op == "attention") {
    AttentionArgs a{};
    a.batch = n.at("batch");
    a.heads = n.at("heads");
    a.qLength = n.at("q");
    a.kLength = n.at("k");
    a.headDim = n.at("dim");
    a.ldq = a.ldk = a.ldv = a.ldo = a.heads * a.headDim;
    a.scale = 0.125f;
    a.q = r->memory.half(a.batch * a.qLength * a.ldq);
    a.k = r->memory.half(a.batch * a.kLength * a.ldk);
    a.v = r->memory.half(a.batch * a.kLength * a.ldv);
    a.o = r->memory.half(a.batch * a.qLength * a.ldo);
    r->run(a, &Attentions<Bf16, true>::attention, 0);
  } else if (op == "groupNorm") {
    GroupNormArgs a{};
    a.n = n.at("n");
    a.rows = n.at("rows");
    a.c = n.at("c");
    a.groups = 32;
    a.eps = 1e-5f;
    a.silu = true;
    a.x = r->memory.half(a.n * a.rows * a.c);
    a.gamma = r->memory.floats(a.c);
    a.beta = r->memory.floats(a.c);
    a.y = r->memory.half(a.n * a.rows * a.c);
    r->run(a, &Norms<Bf16>::groupNorm, Norms<Bf16>::groupNormScratch(a));
  } else if (op == "layerNorm") {
    LayerNormArgs a{};
    a.rows = n.at("rows");
    a.c = n.at("c");
    a.eps = 1e-5f;
    a.x = r->memory.half(a.rows * a.c);
    a.gamma = r->memory.floats(a.c);
    a.beta = r->memory.floats(a.c);
    a.y = r->memory.half(a.rows * a.c);
    r->run(a, &Norms<Bf16>::layerNorm, 0);
  } else if (op == "concat") {
    ConcatArgs a{};
    a.rows = n.at("rows");
    a.ca = n.at("ca");
    a.cb = n.at("cb");
    a.a = r->memory.half(a.rows * a.ca);
    a.b = r->memory.half(a.rows * a.cb);
    a.y = r->memory.half(a.rows * (a.ca + a.cb));
    r->run(a, &Elementwise<Bf16>::concat, 0);
  } else {
    return false;
  }
  return true;
}

std::string answer(const std::string& line) {
  std::istringstream words(line);
  std::string op, word;
  words >> op;
  Numbers numbers;
  while (words >> word) numbers[word.substr(0, word.find('='))] = std::stoll(word.substr(word.find('=') + 1));
  emulation::Machine& machine = emulation::machine();
  machine.counts.clear();
  Runner runner;
  if (!runOp(op, numbers, &runner)) return "{\"error\": \"no op " + op + "\"}";
  const std::string fault = machine.takeFault();
  if (!fault.empty()) return "{\"error\": \"" + fault + "\"}";
  std::ostringstream out;
  out << "{\"bytes\": " << runner.bytes << ", \"kernels\": [";
  const char* separator = "";
  for (const auto& [name, c] : machine.counts.byKernel) {
    out << separator << "{\"name\": \"" << name << "\", \"launches\": " << c.launches << ", \"blocks\": " << c.blocks
        << ", \"threads\": " << c.threads << ", \"sharedBytes\": " << c.sharedBytes << ", \"globalRequests\": " << c.globalRequests
        << ", \"globalSectors\": " << c.globalSectors << ", \"globalBytes\": " << c.globalBytes
        << ", \"sharedWavefronts\": " << c.sharedWavefronts << ", \"sharedLeast\": " << c.sharedLeast << ", \"barriers\": " << c.barriers
        << ", \"mma\": " << c.mma << ", \"mmaBytes\": " << c.mmaBytes << "}";
    separator = ", ";
  }
  out << "]}";
  return out.str();
}

}  // namespace

int main() {
  asdm::cuda::emulation::machine().options.races = false;
  asdm::cuda::emulation::machine().options.sampledBlocks = kSampledBlocks;
  std::string line;
  while (std::getline(std::cin, line)) {
    try {
      std::cout << answer(line) << std::endl;
    } catch (const std::exception& error) {
      std::cout << "{\"error\": \"" << error.what() << "\"}" << std::endl;
    }
  }
  return 0;
}

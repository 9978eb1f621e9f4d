#include "cuda/kernels/tables.h"

#include "backend/device.h"
#include "cuda/kernels/issue.h"
#include "cuda/kernels/pack.h"
#if !defined(__CUDACC__)
#include "cuda/kernels/spans.h"
#endif

namespace asdm::cuda {

namespace {

// Puts an op on the queue. On the emulated card its launches may touch what its contract says, no more.
template <class Args, DType kActivations, void (*kIssue)(const Args&, Issue&), size_t (*kScratch)(const Args&)>
struct Op {
  static void run(const Args& a, Queue& queue) noexcept {
    Stream stream;
    Issue issue{stream, queue.scratch()};
#if !defined(__CUDACC__)
    emulation::Spans spans(kActivations);
    spans.of(a);
    if constexpr (kScratch != nullptr) spans.scratch(queue.scratch(), kScratch(a));
    stream.machine->setMemory(spans.take());
#endif
    kIssue(a, issue);
  }
  static size_t scratch(const Args& a, int) noexcept { return kScratch(a); }
  static constexpr Kernel<Args> kernel = {&run, kScratch == nullptr ? nullptr : &scratch};
};

template <DType kActivations, bool kLast, void (*kIssue)(const LayoutArgs&, Issue&)>
void layout(const LayoutArgs& a, Queue& queue) noexcept {
  Stream stream;
  Issue issue{stream, queue.scratch()};
#if !defined(__CUDACC__)
  emulation::Spans spans(kActivations);
  if (kLast) spans.toChannelsLast(a);
  else spans.toChannelsFirst(a);
  stream.machine->setMemory(spans.take());
#endif
  kIssue(a, issue);
}

template <DType kActivations>
size_t bytesOf(const WeightShape& shape) noexcept {
  return packedBytes(shape, kActivations);
}
template <DType kActivations>
bool packTo(const PackArgs& a, Queue&) noexcept {
  auto* const packed = static_cast<unsigned char*>(a.packed);
  const int64_t row = rowBytes(a.shape, kActivations);
  auto* const scales = reinterpret_cast<float*>(packed + a.shape.n * row);
  auto* const sums = reinterpret_cast<int32_t*>(scales + a.shape.n);
  return packRows(a, kActivations, packed + a.first * row, scales + a.first, sums + a.first);
}

bool convertTo(const NumbersArgs& a, Queue&) noexcept { return convertNumbers(a); }

// On the host, where weights are read.
void addProduct(const AddProductArgs& a, Queue&) noexcept {
  constexpr int64_t kColumns = 64;
  for (int64_t r = 0; r < a.rows; r++)
    for (int64_t c0 = 0; c0 < a.columns; c0 += kColumns) {
      const int64_t columns = a.columns - c0 < kColumns ? a.columns - c0 : kColumns;
      double sums[kColumns] = {};
      for (int64_t k = 0; k < a.rank; k++)
        for (int64_t c = 0; c < columns; c++)
          sums[c] += static_cast<double>(a.up[r * a.rank + k]) * static_cast<double>(a.down[k * a.columns + c0 + c]);
      for (int64_t c = 0; c < columns; c++)
        a.to[r * a.columns + c0 + c] += static_cast<float>(a.scale * static_cast<double>(static_cast<float>(sums[c])));
    }
}

// Products' tiles take features in pieces of 64.
constexpr DeviceTraits kTraits = {64, 256, false};

// Products by the weights' format.
template <bool kTensor>
struct HalfOrFloats {
  static void linear(const LinearArgs& a, Issue& issue) {
    if (a.shape.format == WeightFormat::I8) ByteProducts<kTensor>::linear(a, issue);
    else if (a.shape.format == WeightFormat::F32) FloatProducts<Bf16, float>::linear(a, issue);
    else if constexpr (kTensor) HalfProducts::linear(a, issue);
    else FloatProducts<Bf16, Bf16>::linear(a, issue);
  }
  static void conv(const ConvArgs& a, Issue& issue) {
    if (a.shape.format == WeightFormat::I8) ByteProducts<kTensor>::conv(a, issue);
    else if (a.shape.format == WeightFormat::F32) FloatProducts<Bf16, float>::conv(a, issue);
    else if constexpr (kTensor) HalfProducts::conv(a, issue);
    else FloatProducts<Bf16, Bf16>::conv(a, issue);
  }
  static void condConv(const CondConvArgs& a, Issue& issue) {
    if constexpr (kTensor) HalfProducts::condConv(a, issue);
    else FloatProducts<Bf16, Bf16>::condConv(a, issue);
  }
  static size_t linearScratch(const LinearArgs& a) {
    if (a.shape.format == WeightFormat::I8) return ByteProducts<kTensor>::linearScratch(a);
    if (a.shape.format == WeightFormat::F32) return FloatProducts<Bf16, float>::linearScratch(a);
    if constexpr (kTensor) return HalfProducts::linearScratch(a);
    else return FloatProducts<Bf16, Bf16>::linearScratch(a);
  }
  static size_t convScratch(const ConvArgs& a) {
    if (a.shape.format == WeightFormat::I8) return ByteProducts<kTensor>::convScratch(a);
    if (a.shape.format == WeightFormat::F32) return FloatProducts<Bf16, float>::convScratch(a);
    if constexpr (kTensor) return HalfProducts::convScratch(a);
    else return FloatProducts<Bf16, Bf16>::convScratch(a);
  }
  static size_t condConvScratch(const CondConvArgs& a) {
    if constexpr (kTensor) return HalfProducts::condConvScratch(a);
    else return FloatProducts<Bf16, Bf16>::condConvScratch(a);
  }
};

template <class E, DType kActivations, class Products, bool kTensor>
constexpr KernelTable tableOf(const char* name) {
  KernelTable t{};
  t.name = name;
  t.traits = &kTraits;
  t.activations = kActivations;
  t.packedBytes = &bytesOf<kActivations>;
  t.pack = &packTo<kActivations>;
  t.copyNumbers = &convertTo;
  t.addProduct = &addProduct;
  t.linear = Op<LinearArgs, kActivations, &Products::linear, &Products::linearScratch>::kernel;
  t.conv = Op<ConvArgs, kActivations, &Products::conv, &Products::convScratch>::kernel;
  t.condConv = Op<CondConvArgs, kActivations, &Products::condConv, &Products::condConvScratch>::kernel;
  t.groupNorm = Op<GroupNormArgs, kActivations, &Norms<E>::groupNorm, &Norms<E>::groupNormScratch>::kernel;
  t.layerNorm = Op<LayerNormArgs, kActivations, &Norms<E>::layerNorm, nullptr>::kernel;
  t.attention = Op<AttentionArgs, kActivations, &Attentions<E, kTensor>::attention, nullptr>::kernel;
  t.geglu = Op<GegluArgs, kActivations, &Elementwise<E>::geglu, nullptr>::kernel;
  t.activation = Op<ActivationArgs, kActivations, &Elementwise<E>::activation, nullptr>::kernel;
  t.add = Op<AddArgs, kActivations, &Elementwise<E>::add, nullptr>::kernel;
  t.concat = Op<ConcatArgs, kActivations, &Elementwise<E>::concat, nullptr>::kernel;
  t.embed = Op<EmbedArgs, kActivations, &Elementwise<E>::embed, nullptr>::kernel;
  t.timestep = Op<TimestepArgs, kActivations, &Elementwise<E>::timestep, nullptr>::kernel;
  t.line = Op<LineArgs, kActivations, &Elementwise<E>::line, nullptr>::kernel;
  t.change = Op<ChangeArgs, kActivations, &Elementwise<E>::change, &Elementwise<E>::changeScratch>::kernel;
  t.copy = Op<CopyArgs, kActivations, &copyBytes, nullptr>::kernel;
  t.toChannelsLast = {&layout<kActivations, true, &Elementwise<E>::toChannelsLast>, nullptr};
  t.toChannelsFirst = {&layout<kActivations, false, &Elementwise<E>::toChannelsFirst>, nullptr};
  return t;
}

struct Set {
  const char* name;
  KernelTable floats, half;
};
const Set kSets[] = {
    {"sm80", tableOf<float, DType::F32, FloatProducts<float, float>, false>("sm80"),
     tableOf<Bf16, DType::BF16, HalfOrFloats<true>, true>("sm80")},
    {"sm75", tableOf<float, DType::F32, FloatProducts<float, float>, false>("sm75"),
     tableOf<Bf16, DType::BF16, HalfOrFloats<false>, false>("sm75")},
};

}  // namespace

std::vector<std::string> kernelSets() {
  std::vector<std::string> names;
  for (const Set& set : kSets) names.push_back(set.name);
  return names;
}

const KernelTable* kernelTable(const std::string& set, DType dtype) {
  for (const Set& each : kSets)
    if (set == each.name) return dtype == DType::F32 ? &each.floats : &each.half;
  return nullptr;
}

}  // namespace asdm::cuda

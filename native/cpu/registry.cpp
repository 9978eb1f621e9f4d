#include "cpu/registry.h"

#include <cstdlib>

#include "cpu/attention/attention.h"
#include "cpu/conv/conv.h"
#include "cpu/cpuid.h"
#include "cpu/elementwise/elementwise.h"
#include "cpu/gemm/gemm.h"
#include "cpu/int8/int8.h"
#include "cpu/norm/norm.h"

namespace asdm::cpu {

namespace {

struct Set {
  const char* name;
  bool (*usable)(const Features&);
  const KernelTable* float32;
  const KernelTable* bfloat16;
  const KernelTable* int8;
};

// The kernels for activations of type E; `from` is the set whose they are.
#define ASDM_KERNELS(from, E)                                                                           \
  &from::packedBytes<E>, &from::pack<E>, {&from::linear<E>, &from::linearScratch<E>},                    \
      {&from::conv<E>, &from::convScratch<E>}, {&from::condConv<E>, &from::condConvScratch<E>},          \
      {&from::groupNorm<E>, &from::groupNormScratch},                                                    \
      {&from::layerNorm<E>, nullptr}, {&from::attention<E>, &from::attentionScratch<E>},                 \
      {&from::geglu<E>, nullptr}, {&from::activation<E>, nullptr}, {&from::add<E>, nullptr},             \
      {&concat<E>, nullptr}, {&embed<E>, nullptr}, {&from::timestep<E>, nullptr},                        \
      {&toChannelsLast<E>, nullptr}, {&toChannelsFirst<E>, nullptr}
// Where `set` has no kernels of its own, `float32` and `bfloat16` are the sets whose it uses.
#define ASDM_TABLES(set, float32, bfloat16)                                           \
  const KernelTable set##Float32 = {#set, DType::F32, ASDM_KERNELS(float32, float)};  \
  const KernelTable set##Bfloat16 = {#set, DType::BF16, ASDM_KERNELS(bfloat16, Bf16)};

// Products of I8 weights for the rest of bfloat16's table, which also does products of its native weights.
#define ASDM_INT8_TABLE(set)                                                                                                \
  size_t set##PackedBytes(const WeightShape& shape) {                                                                       \
    return shape.format == WeightFormat::I8 ? set::int8::packedBytes(shape) : set##Bfloat16.packedBytes(shape);             \
  }                                                                                                                         \
  void set##Pack(const PackArgs& p) { p.shape.format == WeightFormat::I8 ? set::int8::pack(p) : set##Bfloat16.pack(p); }    \
  void set##Linear(const LinearArgs& a, KernelContext& context) {                                                           \
    a.shape.format == WeightFormat::I8 ? set::int8::linear(a, context) : set##Bfloat16.linear.run(a, context);              \
  }                                                                                                                         \
  size_t set##LinearScratch(const LinearArgs& a, int threads) {                                                             \
    return a.shape.format == WeightFormat::I8 ? set::int8::linearScratch(a, threads) : set##Bfloat16.linear.scratch(a, threads); \
  }                                                                                                                         \
  void set##Conv(const ConvArgs& a, KernelContext& context) {                                                               \
    a.shape.format == WeightFormat::I8 ? set::int8::conv(a, context) : set##Bfloat16.conv.run(a, context);                  \
  }                                                                                                                         \
  size_t set##ConvScratch(const ConvArgs& a, int threads) {                                                                 \
    return a.shape.format == WeightFormat::I8 ? set::int8::convScratch(a, threads) : set##Bfloat16.conv.scratch(a, threads); \
  }                                                                                                                         \
  const KernelTable set##Int8 = [] {                                                                                        \
    KernelTable table = set##Bfloat16;                                                                                      \
    table.packedBytes = &set##PackedBytes;                                                                                  \
    table.pack = &set##Pack;                                                                                                \
    table.linear = {&set##Linear, &set##LinearScratch};                                                                     \
    table.conv = {&set##Conv, &set##ConvScratch};                                                                           \
    return table;                                                                                                           \
  }();

#define ASDM_CPU_SET(set, needed, float32, bfloat16) \
  ASDM_TABLES(set, float32, bfloat16) ASDM_INT8_TABLE(set)
#include "cpu/sets.def"
#undef ASDM_CPU_SET
ASDM_TABLES(portable, portable, portable)
ASDM_INT8_TABLE(portable)

const Set kSets[] = {
#define ASDM_CPU_SET(set, needed, float32, bfloat16) \
  {#set, [](const Features& f) { return needed; }, &set##Float32, &set##Bfloat16, &set##Int8},
#include "cpu/sets.def"
#undef ASDM_CPU_SET
    {"portable", [](const Features&) { return true; }, &portableFloat32, &portableBfloat16, &portableInt8},
};

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

}  // namespace

std::vector<std::string> compiledSets() {
  std::vector<std::string> names;
  for (const Set& set : kSets) names.push_back(set.name);
  return names;
}

std::vector<std::string> usableSets() {
  std::vector<std::string> names;
  const Features features = detect();
  for (const Set& set : kSets)
    if (set.usable(features)) names.push_back(set.name);
  return names;
}

Status kernels(const std::string& name, DType dtype, const KernelTable** table) {
  std::string wanted = name;
  std::string where = "option cpu";
  if (wanted == "auto") {
    const char* forced = std::getenv("ASDM_CPU");
    if (forced != nullptr && *forced != '\0') {
      wanted = forced;
      where = "environment variable ASDM_CPU";
    }
  }
  const Features features = detect();
  for (const Set& set : kSets) {
    if (wanted == "auto" ? !set.usable(features) : wanted != set.name) continue;
    if (!set.usable(features))
      return {Code::UnknownCpu, "Expected " + where + " to name a kernel set that this machine can run (" +
                                    joined(usableSets()) + ") but received \"" + wanted + "\""};
    *table = dtype == DType::I8 ? set.int8 : dtype == DType::BF16 ? set.bfloat16 : set.float32;
    return Status::good();
  }
  return {Code::UnknownCpu, "Expected " + where + " to be auto or one of " + joined(compiledSets()) + " but received \"" +
                                wanted.substr(0, 60) + "\""};
}

bool isFast(DType dtype) {
  const std::string best = usableSets().front();
  if (dtype == DType::BF16) return best == "avx512bf16";
  if (dtype == DType::I8) return best == "avx512bf16" || best == "avx512vnni" || best == "avxvnni" || best == "neondot";
  return dtype == DType::F32;
}

}  // namespace asdm::cpu

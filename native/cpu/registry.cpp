#include "cpu/registry.h"

#include <cstdlib>

#include "cpu/attention/attention.h"
#include "cpu/conv/conv.h"
#include "cpu/cpuid.h"
#include "cpu/elementwise/elementwise.h"
#include "cpu/gemm/gemm.h"
#include "cpu/norm/norm.h"

namespace asdm::cpu {

namespace {

struct Set {
  const char* name;
  bool (*usable)(const Features&);
  const KernelTable* float32;
  const KernelTable* bfloat16;
};

// The kernels for activations of type E; `from` is the set whose they are.
#define ASDM_KERNELS(from, E)                                                                           \
  &from::packedBytes<E>, &from::pack<E>, {&from::linear<E>, &from::linearScratch<E>},                    \
      {&from::conv<E>, &from::convScratch<E>}, {&from::groupNorm<E>, &from::groupNormScratch},           \
      {&from::layerNorm<E>, nullptr}, {&from::attention<E>, &from::attentionScratch<E>},                 \
      {&from::geglu<E>, nullptr}, {&from::activation<E>, nullptr}, {&from::add<E>, nullptr},             \
      {&concat<E>, nullptr}, {&embed<E>, nullptr}, {&from::timestep<E>, nullptr},                        \
      {&toChannelsLast<E>, nullptr}, {&toChannelsFirst<E>, nullptr}
// Where `set` has no float32 kernels of its own, `from` is the set whose it uses.
#define ASDM_TABLES(set, from)                                                 \
  const KernelTable set##Float32 = {#set, DType::F32, ASDM_KERNELS(from, float)}; \
  const KernelTable set##Bfloat16 = {#set, DType::BF16, ASDM_KERNELS(set, Bf16)};

#define ASDM_CPU_SET(set, needed, from) ASDM_TABLES(set, from)
#include "cpu/sets.def"
#undef ASDM_CPU_SET
ASDM_TABLES(portable, portable)

const Set kSets[] = {
#define ASDM_CPU_SET(set, needed, from) {#set, [](const Features& f) { return needed; }, &set##Float32, &set##Bfloat16},
#include "cpu/sets.def"
#undef ASDM_CPU_SET
    {"portable", [](const Features&) { return true; }, &portableFloat32, &portableBfloat16},
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
    *table = dtype == DType::BF16 ? set.bfloat16 : set.float32;
    return Status::good();
  }
  return {Code::UnknownCpu, "Expected " + where + " to be auto or one of " + joined(compiledSets()) + " but received \"" +
                                wanted.substr(0, 60) + "\""};
}

bool isFast(DType dtype) { return dtype == DType::F32 || (dtype == DType::BF16 && usableSets().front() == "avx512bf16"); }

}  // namespace asdm::cpu

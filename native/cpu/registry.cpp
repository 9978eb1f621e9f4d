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
  const KernelTable* table;
};

#define ASDM_TABLE(set)                                                                                         \
  const KernelTable set##Table = {                                                                              \
      #set, &set::packedBytes, &set::pack, {&set::linear, &set::linearScratch}, {&set::conv, &set::convScratch}, \
      {&set::groupNorm, &set::groupNormScratch}, {&set::layerNorm, nullptr}, {&set::attention, &set::attentionScratch}, \
      {&set::geglu, nullptr}, {&set::activation, nullptr}, {&set::add, nullptr}, {&concat, nullptr}, {&embed, nullptr}, \
      {&set::timestep, nullptr}, {&toChannelsLast, nullptr}, {&toChannelsFirst, nullptr}};

#define ASDM_CPU_SET(set, feature) ASDM_TABLE(set)
#include "cpu/sets.def"
#undef ASDM_CPU_SET
ASDM_TABLE(portable)

const Set kSets[] = {
#define ASDM_CPU_SET(set, feature) {#set, [](const Features& f) { return f.feature; }, &set##Table},
#include "cpu/sets.def"
#undef ASDM_CPU_SET
    {"portable", [](const Features&) { return true; }, &portableTable},
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

Status kernels(const std::string& name, const KernelTable** table) {
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
    *table = set.table;
    return Status::good();
  }
  return {Code::UnknownCpu, "Expected " + where + " to be auto or one of " + joined(compiledSets()) + " but received \"" +
                                wanted.substr(0, 60) + "\""};
}

}  // namespace asdm::cpu

#include "cpu/registry.h"

#include <cstdlib>

#include "cpu/attention/attention.h"
#include "cpu/conv/conv.h"
#include "cpu/cpuid.h"
#include "cpu/elementwise/elementwise.h"
#include "cpu/gemm/gemm.h"
#include "cpu/int8/int8.h"
#include "cpu/norm/norm.h"
#include "cpu/tables.h"
#include "cpu/wide/wide.h"

namespace asdm::cpu {

namespace {

struct Set {
  const char* name;
  bool (*usable)(const Features&);
  const KernelTable* float32;
  const KernelTable* bfloat16;
  const KernelTable* int8;
  const char *float32Of, *bfloat16Of;  // the sets whose kernels those are
  // Has instructions for products of the format, which are faster than those of float32.
  bool fastBf16, fastI8;
};

#define ASDM_CPU_SET(set, needed, float32, bfloat16, fastBf16, fastI8) ASDM_TABLES(set, float32, bfloat16) ASDM_INT8_TABLE(set)
#include "cpu/sets.def"
#undef ASDM_CPU_SET
ASDM_TABLES(portable, portable, portable)
ASDM_INT8_TABLE(portable)

const Set kSets[] = {
#define ASDM_CPU_SET(set, needed, float32, bfloat16, fastBf16, fastI8) \
  {#set, [](const Features& f) { return needed; }, &set##Float32, &set##Bfloat16, &set##Int8, #float32, #bfloat16, fastBf16, fastI8},
#include "cpu/sets.def"
#undef ASDM_CPU_SET
    {"portable", [](const Features&) { return true; }, &portableFloat32, &portableBfloat16, &portableInt8, "portable", "portable", false,
     false},
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
      return {Code::UnknownCpu, "Expected " + where + " to name a kernel set that this machine can run (" + joined(usableSets()) +
                                    ") but received \"" + wanted + "\""};
    *table = dtype == DType::I8 ? set.int8 : dtype == DType::BF16 ? set.bfloat16 : set.float32;
    return Status::good();
  }
  return {Code::UnknownCpu,
          "Expected " + where + " to be auto or one of " + joined(compiledSets()) + " but received \"" + wanted.substr(0, 60) + "\""};
}

bool hasOwnKernels(const std::string& name, DType dtype) {
  for (const Set& set : kSets)
    if (name == set.name) return dtype == DType::I8 || name == (dtype == DType::BF16 ? set.bfloat16Of : set.float32Of);
  return false;
}

bool isFast(DType dtype) {
  if (dtype == DType::F32) return true;
  const Features features = detect();
  for (const Set& set : kSets)
    if (set.usable(features)) return dtype == DType::BF16 ? set.fastBf16 : set.fastI8;
  return false;
}

}  // namespace asdm::cpu

#include "testing/tile_sets.h"

namespace asdm::testing {

namespace {

constexpr const char* kPortable = "amx_emulated";
constexpr const char* kAvx512 = "amx_emulated_avx512";

}  // namespace

std::vector<std::string> tileSets() {
  std::vector<std::string> names;
  if (emulatedAvx512Table(DType::BF16) != nullptr) names.push_back(kAvx512);
  names.push_back(kPortable);
  return names;
}

const KernelTable* tileTable(const std::string& set, DType dtype) {
  if (set == kAvx512) return emulatedAvx512Table(dtype);
  return set == kPortable ? emulatedPortableTable(dtype) : nullptr;
}

}  // namespace asdm::testing

// Products in tile registers with their operands at hand: four chains, as many as products keep under way (gemm/tile_registers.inc.h).
#include "cpu/peak/peak.h"

#if defined(ASDM_HAS_AMX)

#include <atomic>
#include <immintrin.h>

#include "cpu/cpuid.h"

ASDM_TARGET_BEGIN(ASDM_AMX_FEATURES)
#define ASDM_SET amx
#include "cpu/vec/amx.h"
#include "cpu/gemm/tile_registers.inc.h"

namespace asdm::cpu::amx {
namespace {

template <class Numbers>
void chains(int64_t rounds) noexcept {
  TileState state;
  state.shape(2 * kSide);  // clears what is multiplied, too
  for (int64_t n = 0; n < rounds; n++) {
    Numbers::template dot<0>();
    Numbers::template dot<1>();
    Numbers::template dot<2>();
    Numbers::template dot<3>();
  }
  alignas(64) char sums[kSide * kTileBytes];
  trStore<0>(sums, kTileBytes);
}

}  // namespace
}  // namespace asdm::cpu::amx
ASDM_TARGET_END

namespace asdm::cpu::amx {

PeakKernel peak(DType dtype) {
  const Features features = detect();
  constexpr int64_t kMacs = 4 * kSide * kSide * kSide;  // of 32 bits
  if (dtype == DType::BF16 && features.amxBf16) return {chains<PairsOfBf16>, kMacs * 2};
  if (dtype == DType::I8 && features.amxInt8) return {chains<Bytes>, kMacs * 4};
  return avx512::peak(dtype);
}

}  // namespace asdm::cpu::amx

#endif

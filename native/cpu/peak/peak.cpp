#include "cpu/peak/peak.h"

namespace asdm::cpu {

PeakKernel peakKernel(const std::string& set, DType dtype) {
#if defined(ASDM_HAS_AMX)
  if (set == "amx") return amx::peak(dtype);
#endif
#if defined(ASDM_X86)
  // avx512 and the sets beyond it that add number formats.
  if (set.compare(0, 6, "avx512") == 0) return avx512::peak(dtype);
  if (set == "avx2" || set == "avxvnni") return avx2::peak(dtype);
#endif
#if defined(ASDM_ARM64)
  if (set.compare(0, 4, "neon") == 0) return neon::peak(dtype);
#endif
  return portable::peak(dtype);
}

}  // namespace asdm::cpu

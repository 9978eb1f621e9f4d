// The kernels of ops/ops.def as the CPU's sets have them: in a namespace for each set, and functions that all sets share. E is the
// activations' type, float or Bf16; sets avx512bf16 and amx have Bf16 alone. cpu/tables.h gathers them.
#pragma once

#include "backend/kernels.h"
#include "core/bf16.h"
#include "cpu/context.h"
#include "cpu/target.h"

#define ASDM_SET portable
#include "cpu/declare.inc.h"
#if defined(ASDM_X86)
#define ASDM_SET avx2
#include "cpu/declare.inc.h"
#define ASDM_SET avx512
#include "cpu/declare.inc.h"
#define ASDM_SET avx512bf16
#include "cpu/declare.inc.h"
#if defined(ASDM_HAS_AMX)
#define ASDM_SET amx
#include "cpu/declare.inc.h"
#endif
#endif
#if defined(ASDM_ARM64)
#define ASDM_SET neon
#include "cpu/declare.inc.h"
#endif

namespace asdm::cpu {

#define ASDM_SCRATCH_None(entry, arguments)
#define ASDM_SCRATCH_Own(entry, arguments) \
  template <class E>                       \
  size_t entry##Scratch(const arguments&, int threads) noexcept;
#define ASDM_VERSIONS_Common(entry, arguments, scratch)  \
  template <class E>                                     \
  void entry(const arguments&, KernelContext&) noexcept; \
  ASDM_SCRATCH_##scratch(entry, arguments)
#define ASDM_VERSIONS_Floats(entry, arguments, scratch)
#define ASDM_VERSIONS_EachSet(entry, arguments, scratch)
#define ASDM_VERSIONS_EachProduct(entry, arguments, scratch)

#define ASDM_KERNEL(entry, arguments, scratch, versions) ASDM_VERSIONS_##versions(entry, arguments, scratch)
#include "ops/ops.def"

#undef ASDM_SCRATCH_None
#undef ASDM_SCRATCH_Own
#undef ASDM_VERSIONS_Common
#undef ASDM_VERSIONS_Floats
#undef ASDM_VERSIONS_EachSet
#undef ASDM_VERSIONS_EachProduct

}  // namespace asdm::cpu

// Makes a set's versions of a kernel, where it is defined: for the types of activations that the set has (cpu/vec/element.inc.h).
#define ASDM_INSTANTIATE_KERNEL(entry, arguments)                                          \
  ASDM_WITH_FLOATS(template void entry<float>(const arguments&, KernelContext&) noexcept;) \
  template void entry<Bf16>(const arguments&, KernelContext&) noexcept;
#define ASDM_INSTANTIATE_SCRATCH(entry, arguments)                                         \
  ASDM_WITH_FLOATS(template size_t entry##Scratch<float>(const arguments&, int) noexcept;) \
  template size_t entry##Scratch<Bf16>(const arguments&, int) noexcept;

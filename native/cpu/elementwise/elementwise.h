// The ops that do little arithmetic per element: activations, gating, sums, copies, look-ups. Contracts: backend/kernels.h.
// All are bound by memory; each task takes a run of rows or elements of fixed size, so threads change nothing.
#pragma once

#include "backend/kernels.h"
#include "cpu/target.h"

#define ASDM_DECLARE_ELEMENTWISE(set)                            \
  namespace asdm::cpu::set {                                     \
  void geglu(const GegluArgs&, KernelContext&) noexcept;         \
  void activation(const ActivationArgs&, KernelContext&) noexcept; \
  void add(const AddArgs&, KernelContext&) noexcept;             \
  void timestep(const TimestepArgs&, KernelContext&) noexcept;   \
  }

ASDM_DECLARE_ELEMENTWISE(portable)
#if defined(ASDM_X86)
ASDM_DECLARE_ELEMENTWISE(avx2)
ASDM_DECLARE_ELEMENTWISE(avx512)
#endif
#if defined(ASDM_ARM64)
ASDM_DECLARE_ELEMENTWISE(neon)
#endif
#undef ASDM_DECLARE_ELEMENTWISE

// Pure copies: one version for all sets, compiled for the baseline; memcpy is as fast as memory allows.
namespace asdm::cpu {
void concat(const ConcatArgs&, KernelContext&) noexcept;
void embed(const EmbedArgs&, KernelContext&) noexcept;
void toChannelsLast(const LayoutArgs&, KernelContext&) noexcept;
void toChannelsFirst(const LayoutArgs&, KernelContext&) noexcept;
}  // namespace asdm::cpu

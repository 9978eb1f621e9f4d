// The ops that do little arithmetic per element: activations, gating, sums, copies, look-ups. Contracts: backend/kernels.h.
// All are bound by memory; each task takes a run of rows or elements of fixed size, so threads change nothing.
// SiLU and GELU of bfloat16 are computed to as many bits as it keeps and four more (vec/math16.inc.h).
// E is the activations' type, float or Bf16; set avx512bf16 has those for Bf16 only.
#pragma once

#include "backend/kernels.h"
#include "core/bf16.h"
#include "cpu/target.h"

#define ASDM_DECLARE_ELEMENTWISE(set)                              \
  namespace asdm::cpu::set {                                       \
  template <class E>                                               \
  void geglu(const GegluArgs&, KernelContext&) noexcept;           \
  template <class E>                                               \
  void activation(const ActivationArgs&, KernelContext&) noexcept; \
  template <class E>                                               \
  void add(const AddArgs&, KernelContext&) noexcept;               \
  template <class E>                                               \
  void timestep(const TimestepArgs&, KernelContext&) noexcept;     \
  }

ASDM_DECLARE_ELEMENTWISE(portable)
#if defined(ASDM_X86)
ASDM_DECLARE_ELEMENTWISE(avx2)
ASDM_DECLARE_ELEMENTWISE(avx512)
ASDM_DECLARE_ELEMENTWISE(avx512bf16)
#endif
#if defined(ASDM_ARM64)
ASDM_DECLARE_ELEMENTWISE(neon)
#endif
#undef ASDM_DECLARE_ELEMENTWISE

// Copies, look-ups, changes of layout: one version for all sets, compiled for the baseline.
namespace asdm::cpu {
template <class E>
void concat(const ConcatArgs&, KernelContext&) noexcept;
template <class E>
void embed(const EmbedArgs&, KernelContext&) noexcept;
template <class E>
void toChannelsLast(const LayoutArgs&, KernelContext&) noexcept;
template <class E>
void toChannelsFirst(const LayoutArgs&, KernelContext&) noexcept;

// to = from, rounded to the type of the elements.
inline void assign(float& to, float from) { to = from; }
inline void assign(Bf16& to, float from) { to = toBf16(from); }
}  // namespace asdm::cpu

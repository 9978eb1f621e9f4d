// The ops that do little arithmetic per element: activations, gating, sums, copies, look-ups. Contracts: backend/arguments.h.
// All are bound by memory; each task takes a run of rows or elements of fixed size, so threads change nothing.
// SiLU and GELU of bfloat16 are computed to as many bits as it keeps and four more (vec/math16.inc.h).
// E is the activations' type, float or Bf16; set avx512bf16 has those for Bf16 only.
#pragma once

#include "backend/kernels.h"
#include "core/bf16.h"
#include "cpu/context.h"
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

// Training's kernels are those of floats.
#define ASDM_DECLARE_ELEMENTWISE_TRAINING(set)                                     \
  namespace asdm::cpu::set {                                                       \
  void activationGradient(const ActivationGradientArgs&, KernelContext&) noexcept; \
  void gegluGradient(const GegluGradientArgs&, KernelContext&) noexcept;           \
  void loss(const LossArgs&, KernelContext&) noexcept;                             \
  size_t lossScratch(const LossArgs&, int threads) noexcept;                       \
  void lossGradient(const LossGradientArgs&, KernelContext&) noexcept;             \
  void adamW(const AdamWArgs&, KernelContext&) noexcept;                           \
  void average(const AverageArgs&, KernelContext&) noexcept;                       \
  void squares(const SquaresArgs&, KernelContext&) noexcept;                       \
  size_t squaresScratch(const SquaresArgs&, int threads) noexcept;                 \
  void sumRows(const SumRowsArgs&, KernelContext&) noexcept;                       \
  size_t sumRowsScratch(const SumRowsArgs&, int threads) noexcept;                 \
  }

ASDM_DECLARE_ELEMENTWISE(portable)
ASDM_DECLARE_ELEMENTWISE_TRAINING(portable)
#if defined(ASDM_X86)
ASDM_DECLARE_ELEMENTWISE(avx2)
ASDM_DECLARE_ELEMENTWISE_TRAINING(avx2)
ASDM_DECLARE_ELEMENTWISE(avx512)
ASDM_DECLARE_ELEMENTWISE_TRAINING(avx512)
ASDM_DECLARE_ELEMENTWISE(avx512bf16)
#endif
#if defined(ASDM_ARM64)
ASDM_DECLARE_ELEMENTWISE(neon)
ASDM_DECLARE_ELEMENTWISE_TRAINING(neon)
#endif
#undef ASDM_DECLARE_ELEMENTWISE
#undef ASDM_DECLARE_ELEMENTWISE_TRAINING

// Copies, look-ups, changes of layout, lines and changes across steps: one version for all sets, compiled for the baseline.
namespace asdm::cpu {
template <class E>
void concat(const ConcatArgs&, KernelContext&) noexcept;
template <class E>
void slice(const SliceArgs&, KernelContext&) noexcept;
template <class E>
void embed(const EmbedArgs&, KernelContext&) noexcept;
template <class E>
void toChannelsLast(const LayoutArgs&, KernelContext&) noexcept;
template <class E>
void toChannelsFirst(const LayoutArgs&, KernelContext&) noexcept;
template <class E>
void line(const LineArgs&, KernelContext&) noexcept;
template <class E>
void change(const ChangeArgs&, KernelContext&) noexcept;
size_t changeScratch(const ChangeArgs&, int threads) noexcept;
void copy(const CopyArgs&, KernelContext&) noexcept;

// to = from, rounded to the type of the elements.
inline void assign(float& to, float from) { to = from; }
inline void assign(Bf16& to, float from) { to = toBf16(from); }
}  // namespace asdm::cpu

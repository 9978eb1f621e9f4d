// The ops that do little arithmetic per element: activations, gating, sums, copies, look-ups. Contracts: backend/arguments.h.
// All are bound by memory; each task takes a run of rows or elements of fixed size, so threads change nothing.
// SiLU and GELU of bfloat16 are computed to as many bits as it keeps and four more (vec/math16.inc.h).
// Copies, look-ups, changes of layout, lines and changes across steps have one version for all sets (copies.cpp, across_steps.cpp).
#pragma once

#include "core/bf16.h"
#include "cpu/kernels.h"

namespace asdm::cpu {

// to = from, rounded to the type of the elements.
inline void assign(float& to, float from) { to = from; }
inline void assign(Bf16& to, float from) { to = toBf16(from); }

}  // namespace asdm::cpu

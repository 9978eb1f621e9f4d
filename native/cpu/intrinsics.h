// What a set's kernels need from outside, included before a target region opens (target.h): standard headers and the intrinsics.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "cpu/hints.h"
#include "cpu/target.h"

#if defined(ASDM_X86)
#include <immintrin.h>
#elif defined(ASDM_ARM64)
#include <arm_neon.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes _mm512_undefined_ps() in its own header for a mistake (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

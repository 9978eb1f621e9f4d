// Group norm (with SiLU) and layer norm for every kernel set. Contracts: GroupNormArgs and LayerNormArgs in backend/arguments.h.
//
// Statistics hold where |mean| is far above the deviation: within a chunk of rows (a row) the mean comes first and deviations are
// taken from it in a second pass over cached data; chunks and channels are combined in double (Chan, Golub & LeVeque 1979). The
// mean is also taken off before the scaling, in two parts, so that the output does not lose what the statistics kept. Group norm of
// bfloat16 takes deviations from the mean of the chunk's first rows instead, and reads the chunk once.
// Threads: a task per chunk of fixed size, so threads change nothing. Rounding: the scale rstd * gamma is rounded once, the output
// after one fused multiply and add.
#pragma once

#include "core/bf16.h"
#include "cpu/kernels.h"

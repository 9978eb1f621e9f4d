// Scaled dot-product attention for every kernel set. Contract: AttentionArgs in backend/arguments.h.
//
// The score matrix is never whole in memory: each tile of queries walks over blocks of keys and keeps a running reference score,
// sum of weights and weighted sum of values (online softmax, Milakov & Gimelshein 2018; blocked as in FlashAttention, Dao et al.
// 2022). Vector lanes are queries, so that maxima and sums need no work across lanes and no width divides headDim.
//
// Scratch: K and V once more, in the order the tiles read them, and some hundred KB per thread.
// Threads: one task per run of query tiles of one head; which thread takes it changes nothing.
// Rounding: a score's product with scale is not rounded by itself: the weight is 2^(score * c - reference) with one fused multiply
// and add (two roundings in sets without FMA), c = scale * log2(e) rounded once. Sums over keys are rounded per block, then over blocks.
// bfloat16 activations: sums, softmax and scores are float; the output is rounded once. Sets avx512bf16 and amx multiply pairs of
// bfloat16 (pairs.inc.h): their weights are rounded too, and divided by the sum of what they were rounded to, so an output is off by at most some
// 2 * 2^-8 of sum weight * |value| besides. The other sets widen what they read and multiply floats (tiles.inc.h).
// NaN and infinity behave as in softmax written out: NaN in a query or key makes the row NaN, in a value its column; a score of
// -inf has weight 0, and a row of nothing else is NaN.
#pragma once

#include "core/bf16.h"
#include "cpu/kernels.h"

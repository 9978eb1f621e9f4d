// The vocabulary that kernels are written in. Under nvcc each word is the instruction of its name (device/card.h); under a host
// compiler it is emulated and checked (emulation/words.h). A kernel is a struct:
//
//   struct Kernel {
//     static constexpr const char* kName = "...";   // for reports
//     static constexpr int kThreads = 256;          // a multiple of 32
//     static constexpr int kBlocks = 1;             // resident per multiprocessor, at least: bounds the registers
//     struct Params { ... };                        // plain data, at most 4 KB
//     static ASDM_DEVICE void run(const Params&);
//   };
//
// and launch<Kernel>(stream, grid, sharedBytes, params) queues it. A kernel touches memory through these words alone:
//
//   thread(), lane(), warp(), block()        where it runs
//   load(p), store(p, v)                     global memory; T of 1, 2, 4, 8 or 16 bytes, aligned to its size
//   sharedLoad<T>(at), sharedStore(at, v)    the block's shared memory, by byte offset
//   copyAsync(at, from, whole)               16 bytes, global to shared, in the background; zeros unless `whole` (cp.async, zfill)
//   copyCommit(), copyWait<N>()              closes a group of copies; waits until at most N groups of this thread are under way
//   barrier(), warpSync()                    all threads of the block; of the warp
//   shuffle(v, lane), shuffleXor(v, mask)    among the warp's lanes, all of which take part
//   any(condition)                           a vote of the warp
//   loadMatrix(r, at), loadMatrixTransposed  ldmatrix.x4: lane i gives the address of row i % 8 of matrix i / 8
//   mma(d, a, b)                             d += a b by the warp: m16n8k16 of bfloat16 pairs into floats
//   mmaBytes(d, a, b)                        m16n8k32, unsigned a times signed b, into 32-bit integers
//   dotBytes(a, b, c)                        c + four unsigned bytes of a times four signed of b (dp4a)
#pragma once

#include "cuda/device/types.h"

#if defined(__CUDACC__)
#include "cuda/device/card.h"
#else
#include "cuda/emulation/words.h"
#endif

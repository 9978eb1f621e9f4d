// Ops of the test program that are about the emulation itself: kernels that break each of its rules, single instructions, counts.
#pragma once

#include <napi.h>

#include <string>

namespace asdm::cuda::testing {

using EmulationOp = Napi::Value (*)(Napi::Env, const Napi::Object& args);

// Null where no such op is.
//   fault { kernel }                      runs a kernel that breaks a rule, or nearly; throws the fault's sentence
//   loadMatrix { x: 32 rows of 8, transposed }  [32][8]: what each lane got, two numbers of each of four words
//   mma { a [16][16], b [16][8], d [16][8] }    a b + d through the lanes' registers as the PTX ISA lays them out
//   mmaBytes { a [16][32], b [32][8], d [16][8] }
//   wavefronts { offsets, bytes }         how many a request of shared memory takes
//   counts { kernel }                     [global requests, sectors, shared requests, wavefronts, barriers, mma] of one block
EmulationOp emulationOp(const std::string& name);

}  // namespace asdm::cuda::testing

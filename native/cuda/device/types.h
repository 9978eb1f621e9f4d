// Types of the kernel vocabulary that the card and the emulation share.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define ASDM_DEVICE __device__ __forceinline__
#define ASDM_BOTH __host__ __device__ __forceinline__
#define ASDM_UNROLL _Pragma("unroll")
#else
#define ASDM_DEVICE inline
#define ASDM_BOTH inline
#define ASDM_UNROLL
#endif

namespace asdm::cuda {

// Two and four 32-bit words, moved by one instruction; addresses must be multiples of their size.
struct alignas(8) Words2 {
  uint32_t w[2];
};
struct alignas(16) Words4 {
  uint32_t w[4];
};

struct Index3 {
  int x, y, z;
};

struct Grid {
  int64_t x = 1, y = 1, z = 1;
};

}  // namespace asdm::cuda

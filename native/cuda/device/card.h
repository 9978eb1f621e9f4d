// The vocabulary on a card (device/vocabulary.h): one PTX instruction or builtin a word. For nvcc alone.
#pragma once

#include <cuda_runtime.h>

#include "cuda/device/types.h"

namespace asdm::cuda {

// A queue of the device. The first error of a launch stays until it is read.
struct Stream {
  cudaStream_t handle = nullptr;
  cudaError_t error = cudaSuccess;
};

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, Kernel::kBlocks) entry(const __grid_constant__ typename Kernel::Params params) {
  Kernel::run(params);
}

template <class Kernel>
void launch(Stream& stream, const Grid& grid, uint32_t sharedBytes, const typename Kernel::Params& params) {
  static_assert(sizeof(typename Kernel::Params) <= 4096, "a launch carries at most 4 KB");
  if (stream.error != cudaSuccess) return;
  constexpr uint32_t kPlainShared = 48 * 1024;  // more has to be asked for
  if (sharedBytes > kPlainShared) {
    stream.error = cudaFuncSetAttribute(entry<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(sharedBytes));
    if (stream.error != cudaSuccess) return;
  }
  const dim3 blocks(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), static_cast<unsigned>(grid.z));
  entry<Kernel><<<blocks, Kernel::kThreads, sharedBytes, stream.handle>>>(params);
  stream.error = cudaGetLastError();
}

ASDM_DEVICE int thread() { return static_cast<int>(threadIdx.x); }
ASDM_DEVICE int lane() { return static_cast<int>(threadIdx.x) % 32; }
ASDM_DEVICE int warp() { return static_cast<int>(threadIdx.x) / 32; }
ASDM_DEVICE Index3 block() { return {static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z)}; }

template <class T>
ASDM_DEVICE T load(const T* p) {
  return *p;
}
template <class T>
ASDM_DEVICE void store(T* p, T value) {
  *p = value;
}

ASDM_DEVICE unsigned char* sharedMemory() {
  extern __shared__ __align__(128) unsigned char asdmShared[];
  return asdmShared;
}
ASDM_DEVICE uint32_t sharedAddress(uint32_t at) { return static_cast<uint32_t>(__cvta_generic_to_shared(sharedMemory())) + at; }

template <class T>
ASDM_DEVICE T sharedLoad(uint32_t at) {
  return *reinterpret_cast<const T*>(sharedMemory() + at);
}
template <class T>
ASDM_DEVICE void sharedStore(uint32_t at, T value) {
  *reinterpret_cast<T*>(sharedMemory() + at) = value;
}

// cp.async came with sm_80; before it the copy is made at once, which the same waits and barriers order.
ASDM_DEVICE void copyAsync(uint32_t at, const void* from, bool whole) {
#if __CUDA_ARCH__ >= 800
  const int bytes = whole ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(sharedAddress(at)), "l"(__cvta_generic_to_global(from)), "r"(bytes)
               : "memory");
#else
  sharedStore(at, whole ? *static_cast<const Words4*>(from) : Words4{{0, 0, 0, 0}});
#endif
}
ASDM_DEVICE void copyCommit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}
template <int N>
ASDM_DEVICE void copyWait() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;\n" ::"n"(N) : "memory");
#endif
}

ASDM_DEVICE void barrier() { __syncthreads(); }
ASDM_DEVICE void warpSync() { __syncwarp(); }
template <class T>
ASDM_DEVICE T shuffle(T value, int from) {
  return __shfl_sync(0xffffffffu, value, from);
}
template <class T>
ASDM_DEVICE T shuffleXor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
ASDM_DEVICE bool any(bool condition) { return __any_sync(0xffffffffu, condition) != 0; }

ASDM_DEVICE void loadMatrix(uint32_t (&r)[4], uint32_t at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(sharedAddress(at))
               : "memory");
}
ASDM_DEVICE void loadMatrixTransposed(uint32_t (&r)[4], uint32_t at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(sharedAddress(at))
               : "memory");
}

// Kernels that multiply matrices are launched on sm_80 and later alone; for sm_75 their bodies are empty words.
ASDM_DEVICE void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}
ASDM_DEVICE void mmaBytes(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}
ASDM_DEVICE int32_t dotBytes(uint32_t a, uint32_t b, int32_t c) {
  int32_t d;
  asm("dp4a.u32.s32 %0, %1, %2, %3;\n" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}

}  // namespace asdm::cuda

// The library with NVIDIA's GPUs, as backend/plugin.h has it: build/cuda/asdm_cuda.so (scripts/cuda.mjs, or CMake's target asdm_cuda). It needs
// the driver alone, and says so where there is none. It names the GPUs; it opens none yet, as nothing puts the kernels on a GPU's queue.
#include "backend/plugin.h"

#include <cstdio>

#include <cuda_runtime.h>

namespace asdm::cuda {

namespace {

constexpr char kNotYet[] = "this version of asdm has kernels for it but does not run models on GPUs yet";

char none[256] = "it has not looked for GPUs";

template <size_t kSize>
void copyText(char (&to)[kSize], const char* from) {
  std::snprintf(to, kSize, "%s", from);
}

int count() noexcept {
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error == cudaSuccess && devices > 0) return devices;
  const char* const expected = error == cudaErrorInsufficientDriver                 ? "an NVIDIA driver of CUDA 12 or later"
                               : error == cudaSuccess || error == cudaErrorNoDevice ? "an NVIDIA GPU"
                                                                                    : "the NVIDIA driver to answer";
  std::snprintf(none, sizeof none, "expected %s but CUDA's runtime says: %s", expected, cudaGetErrorString(error));
  return 0;
}

// Touches no GPU's memory.
void describe(int index, DeviceNote* note) noexcept {
  std::snprintf(note->name, sizeof note->name, "cuda:%d", index);
  cudaDeviceProp properties;
  const cudaError_t error = cudaGetDeviceProperties(&properties, index);
  if (error != cudaSuccess) {
    std::snprintf(note->reason, sizeof note->reason, "CUDA's runtime says: %s", cudaGetErrorString(error));
    return;
  }
  const int capability = properties.major * 10 + properties.minor;
  std::snprintf(note->description, sizeof note->description, "%.80s, %llu MiB, compute capability %d.%d", properties.name,
                static_cast<unsigned long long>(properties.totalGlobalMem >> 20), properties.major, properties.minor);
  copyText(note->reason, capability < 75 ? "its compute capability is below 7.5" : kNotYet);
}

Device* open(int, Fault* fault) noexcept {
  *fault = Fault(Code::UnknownDevice, kNotYet);
  return nullptr;
}

}  // namespace

}  // namespace asdm::cuda

ASDM_PLUGIN_EXPORT const asdm::DevicePlugin* asdm_device_plugin() noexcept {
  using namespace asdm::cuda;
  static const asdm::DevicePlugin plugin = {asdm::kPluginVersion, sizeof(asdm::KernelTable), "cuda", &count, none, &describe, &open};
  return &plugin;
}

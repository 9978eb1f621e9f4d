#include "cuda/plugin/plugin.h"

#include <cstdio>
#include <cstring>

#include <cuda_runtime.h>

namespace {

template <size_t kSize>
void copyText(char (&to)[kSize], const char* from) {
  std::snprintf(to, kSize, "%s", from);
}

void fail(AsdmCudaProbe* probe, AsdmCudaState state, const char* expected, cudaError_t error) {
  probe->state = state;
  std::snprintf(probe->reason, sizeof probe->reason, "Expected %s but CUDA's runtime says: %s", expected, cudaGetErrorString(error));
}

}  // namespace

void asdmCudaProbe(AsdmCudaProbe* probe, AsdmCudaDevice* devices, uint32_t capacity) {
  std::memset(probe, 0, sizeof *probe);
  probe->version = kAsdmCudaVersion;
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver) return fail(probe, kAsdmCudaNoDriver, "an NVIDIA driver of CUDA 12 or later", error);
  if (error == cudaErrorNoDevice) return fail(probe, kAsdmCudaNoDevice, "an NVIDIA GPU", error);
  if (error != cudaSuccess) return fail(probe, kAsdmCudaFailed, "the NVIDIA driver to answer", error);
  probe->devices = static_cast<uint32_t>(count);
  bool usable = false;
  for (int i = 0; i < count; i++) {
    cudaDeviceProp properties;
    const cudaError_t asked = cudaGetDeviceProperties(&properties, i);
    if (asked != cudaSuccess) return fail(probe, kAsdmCudaFailed, "the NVIDIA driver to describe its GPUs", asked);
    const int capability = properties.major * 10 + properties.minor;
    usable = usable || capability >= 75;
    if (static_cast<uint32_t>(i) >= capacity) continue;
    AsdmCudaDevice& d = devices[i];
    copyText(d.name, properties.name);
    d.major = static_cast<uint32_t>(properties.major);
    d.minor = static_cast<uint32_t>(properties.minor);
    d.multiprocessors = static_cast<uint32_t>(properties.multiProcessorCount);
    d.memory = properties.totalGlobalMem;
    copyText(d.set, capability >= 80 ? "sm80" : capability >= 75 ? "sm75" : "");
  }
  if (usable) return;
  probe->state = kAsdmCudaTooOld;
  copyText(probe->reason, "Expected a GPU of compute capability 7.5 or later but all are older");
}

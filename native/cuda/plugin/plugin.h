// The C interface of the CUDA plugin, a library that is loaded at run time: build/cuda/asdm_cuda.so (scripts/cuda.mjs, or CMake's target
// asdm_cuda). It needs the driver alone, and says so where there is none. Plain data: the two sides may come from different compilers.
#pragma once

#include <stdint.h>

#if defined(_WIN32)
#define ASDM_PLUGIN_EXPORT extern "C" __declspec(dllexport)
#else
#define ASDM_PLUGIN_EXPORT extern "C" __attribute__((visibility("default")))
#endif

// Raised when anything here changes: a plugin of another version is not used.
constexpr uint32_t kAsdmCudaVersion = 1;

enum AsdmCudaState : uint32_t {
  kAsdmCudaReady = 0,
  kAsdmCudaNoDriver = 1,   // or one older than the runtime that the plugin has in it
  kAsdmCudaNoDevice = 2,
  kAsdmCudaTooOld = 3,     // no device of compute capability 7.5 or later
  kAsdmCudaFailed = 4,     // the driver reports something else
};

struct AsdmCudaDevice {
  char name[256];
  uint32_t major, minor;  // compute capability
  uint32_t multiprocessors;
  uint64_t memory;        // bytes
  char set[16];           // its kernel set, "sm80" or "sm75"; empty where it is too old
};

struct AsdmCudaProbe {
  uint32_t version;  // of the plugin
  AsdmCudaState state;
  char reason[512];  // one sentence, unless ready
  uint32_t devices;  // how many there are
};

// What is there: fills the probe and the first `capacity` devices. Touches no device's memory.
ASDM_PLUGIN_EXPORT void asdmCudaProbe(AsdmCudaProbe* probe, AsdmCudaDevice* devices, uint32_t capacity);

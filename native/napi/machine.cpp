#include "napi/machine.h"

#include <thread>

#include "cpu/cpuid.h"
#include "cpu/registry.h"

#if defined(_WIN32)
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#elif defined(__linux__)
#include <sched.h>
#endif

namespace asdm::napi {

namespace {

// Cores this process may run on, which a container or taskset may have made fewer than the machine has.
int usableCores() {
#if defined(_WIN32)
  DWORD_PTR process = 0, system = 0;
  if (GetProcessAffinityMask(GetCurrentProcess(), &process, &system) && process != 0) {
    int cores = 0;
    for (; process != 0; process &= process - 1) cores++;
    return cores;
  }
#elif defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  const unsigned cores = std::thread::hardware_concurrency();
  return cores == 0 ? 1 : static_cast<int>(cores);
}

}  // namespace

napi_value cpuInfo(napi_env env) {
  const napi_value info = object(env);
  set(env, info, "brand", string(env, cpu::brand()));
  set(env, info, "features", strings(env, cpu::featureNames(cpu::detect())));
  set(env, info, "compiled", strings(env, cpu::compiledSets()));
  set(env, info, "usable", strings(env, cpu::usableSets()));
  set(env, info, "cores", number(env, usableCores()));
  return info;
}

}  // namespace asdm::napi

#include "napi/machine.h"

#include <string>
#include <thread>

#include "cpu/cpuid.h"
#include "cpu/measure.h"
#include "cpu/registry.h"
#include "napi/convert.h"
#include "napi/environment.h"

#if defined(_WIN32)
#include "core/win32.h"
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
  std::vector<std::string> fast;
  for (DType dtype : {DType::F32, DType::BF16, DType::I8})
    if (cpu::isFast(dtype)) fast.push_back(dtypeName(dtype));
  set(env, info, "fast", strings(env, fast));
  set(env, info, "cores", number(env, usableCores()));
  return info;
}

napi_value deviceList(napi_env env, napi_callback_info) {
  const std::vector<DeviceInfo> devices = Environment::of(env).devices.list();
  napi_value list;
  check(env, napi_create_array_with_length(env, devices.size(), &list));
  for (size_t i = 0; i < devices.size(); i++) {
    const napi_value row = object(env);
    set(env, row, "name", string(env, devices[i].name));
    set(env, row, "description", string(env, devices[i].description));
    set(env, row, "reason", devices[i].reason.empty() ? null(env) : string(env, devices[i].reason));
    check(env, napi_set_element(env, list, static_cast<uint32_t>(i), row));
  }
  return list;
}

napi_value loadDevices(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const std::string path = Value(env, arguments[0], "path").text(size_t{1} << 15);
  require(Environment::of(env).devices.load(path));
  return undefined(env);
}

napi_value measurePeak(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const Value request(env, arguments[0], "request");
  const Value kind = request["kind"];
  const std::string name = kind.text(1024);
  const int threads = static_cast<int>(request["threads"].integer(1, 256)), ms = static_cast<int>(request["ms"].integer(1, 2000));
  double perSecond = 0;
  if (name == "copy") {
    const auto bytes = static_cast<uint64_t>(request["bytes"].integer(64, int64_t{1} << 31));
    require(cpu::measureCopy(bytes, threads, ms, &perSecond));
  } else {
    if (name != "fp32" && name != "bf16" && name != "int8") kind.fail("fp32, bf16, int8 or copy");
    const DType dtype = name == "fp32" ? DType::F32 : name == "bf16" ? DType::BF16 : DType::I8;
    require(cpu::measurePeak(dtype, request["cpu"].text(1024), threads, ms, &perSecond));
  }
  return number(env, perSecond);
}

}  // namespace asdm::napi

#include "core/memory_limit.h"

#include <algorithm>
#include <cstdio>

#ifdef _WIN32
#include "core/win32.h"
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#include <sys/types.h>
#else
#include <unistd.h>
#endif

namespace asdm {

namespace {

uint64_t physicalMemory() {
#ifdef _WIN32
  MEMORYSTATUSEX status;
  status.dwLength = sizeof status;
  return GlobalMemoryStatusEx(&status) ? status.ullTotalPhys : UINT64_MAX;
#elif defined(__APPLE__)
  uint64_t bytes = 0;
  size_t size = sizeof bytes;
  return sysctlbyname("hw.memsize", &bytes, &size, nullptr, 0) == 0 ? bytes : UINT64_MAX;
#else
  const long pages = sysconf(_SC_PHYS_PAGES), pageBytes = sysconf(_SC_PAGESIZE);
  return pages > 0 && pageBytes > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(pageBytes) : UINT64_MAX;
#endif
}

#ifdef __linux__
// The first number in a file; UINT64_MAX when there is none ("max" in a control group without a limit).
uint64_t numberIn(const char* path) {
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) return UINT64_MAX;
  unsigned long long value = 0;
  const bool found = std::fscanf(file, "%llu", &value) == 1;
  std::fclose(file);
  return found ? value : UINT64_MAX;
}
#endif

}  // namespace

uint64_t memoryLimit() {
  uint64_t limit = physicalMemory();
#ifdef __linux__
  limit = std::min(limit, numberIn("/sys/fs/cgroup/memory.max"));
  limit = std::min(limit, numberIn("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
#endif
  return limit;
}

}  // namespace asdm

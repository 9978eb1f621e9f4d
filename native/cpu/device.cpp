#include "cpu/device.h"

#include <new>

#include "core/memory.h"
#include "core/memory_limit.h"
#include "cpu/registry.h"

namespace asdm::cpu {

namespace {

class CpuDevice final : public Device {
 public:
  const char* name() const noexcept override { return "cpu"; }
  const DeviceTraits& traits() const noexcept override { return kTraits; }
  Fault kernels(const char* set, DType dtype, const KernelTable** table) const noexcept override {
    try {
      return faultOf(cpu::kernels(set, dtype, table));
    } catch (const std::bad_alloc&) {
      return Fault(Code::OutOfMemory, "Expected memory to choose kernels, but the system gave none");
    }
  }
  uint64_t memoryLimit() const noexcept override { return asdm::memoryLimit(); }
  void* allocate(uint64_t bytes) noexcept override { return allocateBlock(bytes); }
  void release(void* address, uint64_t bytes) noexcept override { releaseBlock(static_cast<std::byte*>(address), bytes); }
  void* allocateHost(uint64_t bytes) noexcept override { return allocateBlock(bytes); }
  void releaseHost(void* address, uint64_t bytes) noexcept override { releaseBlock(static_cast<std::byte*>(address), bytes); }
  void forbid(void* address, uint64_t bytes) noexcept override { asdm::forbid(static_cast<std::byte*>(address), bytes); }
  Queue* openQueue(ThreadPool& host) noexcept override { return new (std::nothrow) CpuQueue(host); }
};

}  // namespace

std::shared_ptr<Device> makeDevice() { return std::make_shared<CpuDevice>(); }

}  // namespace asdm::cpu

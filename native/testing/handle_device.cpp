#include "testing/handle_device.h"

#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

#include "backend/plugin.h"
#include "core/memory.h"
#include "cpu/device.h"
#include "cpu/registry.h"

namespace asdm::testing {

namespace {

// Bit 55 makes an address that no process has on x86-64 and ARM64.
constexpr uintptr_t kFirstHandle = uintptr_t{1} << 55, kDistance = uintptr_t{1} << 36;
// Rows, and places, are those of no other device's; the panels are the CPU kernels'.
constexpr DeviceTraits kTraits = {cpu::kPackRows, 256, false};

struct Counters {
  std::atomic<uint64_t> uploads{0}, uploadedBytes{0}, downloads{0}, downloadedBytes{0}, buffers{0};
};
Counters& counters() {
  static Counters all;
  return all;
}

// From handles to memory.
class Handles {
 public:
  void* add(uint64_t bytes) {
    Block block;
    if (bytes >= kDistance || !block.allocate(static_cast<size_t>(bytes))) return nullptr;
    const std::lock_guard<std::mutex> lock(mutex_);
    const uintptr_t handle = kFirstHandle + kDistance * next_++;
    blocks_.emplace(handle, std::move(block));
    counters().buffers++;
    return reinterpret_cast<void*>(handle);
  }
  void remove(void* handle) {
    const std::lock_guard<std::mutex> lock(mutex_);
    counters().buffers -= blocks_.erase(reinterpret_cast<uintptr_t>(handle));
  }
  // Null where the address is not within what was handed out.
  std::byte* find(const void* address) const {
    const auto at = reinterpret_cast<uintptr_t>(address);
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto after = blocks_.upper_bound(at);
    if (after == blocks_.begin()) return nullptr;
    const auto& [handle, block] = *std::prev(after);
    return at - handle <= block.bytes() ? block.data() + (at - handle) : nullptr;
  }

 private:
  mutable std::mutex mutex_;
  std::map<uintptr_t, Block> blocks_;
  uintptr_t next_ = 0;
};

class HandleQueue final : public Queue {
 public:
  HandleQueue(const Handles& handles, ThreadPool& pool) : handles_(handles), inner_(pool) {}

  int threads() const noexcept override { return inner_.threads(); }
  void upload(void* to, const void* host, uint64_t bytes) noexcept override {
    counters().uploads++;
    counters().uploadedBytes += bytes;
    std::byte* const there = memory(to);
    if (there != nullptr) inner_.upload(there, host, bytes);
  }
  void download(void* host, const void* from, uint64_t bytes) noexcept override {
    counters().downloads++;
    counters().downloadedBytes += bytes;
    const std::byte* const there = memory(from);
    if (there != nullptr) inner_.download(host, there, bytes);
  }
  void fill(void* to, uint8_t value, uint64_t bytes) noexcept override {
    std::byte* const there = memory(to);
    if (there != nullptr) inner_.fill(there, value, bytes);
  }
  void setCancel(const std::atomic<bool>* cancel) noexcept override { inner_.setCancel(cancel); }
  Fault finish() noexcept override {
    return faulty_.load() ? Fault(Code::Internal, "Expected addresses of the device but received another") : inner_.finish();
  }
  void startTiming(double* seconds) noexcept override { inner_.startTiming(seconds); }
  void mark() noexcept override { inner_.mark(); }

  // Null, and a fault from now on, where an address is none of the device's.
  std::byte* memory(const void* address) noexcept {
    std::byte* const found = handles_.find(address);
    if (found == nullptr) faulty_ = true;
    return found;
  }
  template <class Args>
  void run(const Kernel<Args>& kernel, Args args) noexcept {
    const auto look = [this](auto*& pointer) {
      using Pointer = std::remove_reference_t<decltype(pointer)>;
      if (pointer != nullptr) pointer = static_cast<Pointer>(static_cast<void*>(memory(pointer)));
    };
    args.addresses(look);
    std::byte* const own = scratch() != nullptr ? memory(scratch()) : nullptr;
    if (faulty_.load()) return;
    inner_.setScratch(own);
    kernel.run(args, inner_);
  }
  cpu::CpuQueue& inner() { return inner_; }

 private:
  const Handles& handles_;
  cpu::CpuQueue inner_;
  std::atomic<bool> faulty_{false};
};

// The CPU's tables of set "auto" by number format, and ours over them.
constexpr DType kFormats[] = {DType::F32, DType::BF16, DType::I8};
const KernelTable* inner[3];
KernelTable tables[3];

// Kernels that find the inner ones.
template <int format, class Args, Kernel<Args> KernelTable::* kernel>
void over(const Args& args, Queue& queue) noexcept {
  static_cast<HandleQueue&>(queue).run(inner[format]->*kernel, args);
}

template <int format>
bool pack(const PackArgs& args, Queue& queue) noexcept {
  HandleQueue& own = static_cast<HandleQueue&>(queue);
  PackArgs there = args;
  there.packed = own.memory(args.packed);
  return there.packed != nullptr && inner[format]->pack(there, own.inner());
}

template <int format>
bool copyNumbers(const NumbersArgs& args, Queue& queue) noexcept {
  HandleQueue& own = static_cast<HandleQueue&>(queue);
  NumbersArgs there = args;
  there.to = own.memory(args.to);
  return there.to != nullptr && inner[format]->copyNumbers(there, own.inner());
}

template <int format>
void addProduct(const AddProductArgs& args, Queue& queue) noexcept {
  inner[format]->addProduct(args, static_cast<HandleQueue&>(queue).inner());
}

template <int format>
void unpack(const UnpackArgs& args, Queue& queue) noexcept {
  HandleQueue& own = static_cast<HandleQueue&>(queue);
  UnpackArgs there = args;
  there.packed = own.memory(args.packed);
  if (there.packed != nullptr) inner[format]->unpack(there, own.inner());
}

template <int format>
Status makeTable() {
  ASDM_TRY(cpu::kernels("auto", kFormats[format], &inner[format]));
  KernelTable& table = tables[format];
  table = *inner[format];
  table.traits = &kTraits;
  table.pack = &pack<format>;
  table.copyNumbers = &copyNumbers<format>;
  table.addProduct = &addProduct<format>;
#define ASDM_KERNEL(entry, arguments, scratch, versions) \
  if (table.entry.run != nullptr) table.entry.run = &over<format, arguments, &KernelTable::entry>;
#include "ops/ops.def"
  if (table.unpack != nullptr) table.unpack = &unpack<format>;
  return Status::good();
}

Status makeTables() {
  ASDM_TRY(makeTable<0>());
  ASDM_TRY(makeTable<1>());
  return makeTable<2>();
}

class HandleDevice final : public Device {
 public:
  const char* name() const noexcept override { return kHandleDevice; }
  const DeviceTraits& traits() const noexcept override { return kTraits; }
  Fault kernels(const char* set, DType dtype, const KernelTable** table) const noexcept override {
    static const Status made = makeTables();
    if (!made.ok()) return faultOf(made);
    const int format = dtype == DType::I8 ? 2 : dtype == DType::BF16 ? 1 : 0;
    if (std::strcmp(set, "auto") != 0 && std::strcmp(set, tables[format].name) != 0)
      return Fault(Code::UnknownCpu, "Expected option cpu to be auto, for a device of tests");
    *table = &tables[format];
    return Fault();
  }
  uint64_t memoryLimit() const noexcept override { return cpu_->memoryLimit(); }
  void* allocate(uint64_t bytes) noexcept override { return handles_.add(bytes); }
  void release(void* address, uint64_t) noexcept override { handles_.remove(address); }
  void* allocateHost(uint64_t bytes) noexcept override { return cpu_->allocateHost(bytes); }
  void releaseHost(void* address, uint64_t bytes) noexcept override { cpu_->releaseHost(address, bytes); }
  void forbid(void*, uint64_t) noexcept override {}
  Queue* openQueue(ThreadPool& host) noexcept override { return new (std::nothrow) HandleQueue(handles_, host); }

 private:
  const std::shared_ptr<Device> cpu_ = cpu::makeDevice();
  Handles handles_;
};

// As a plugin: such a device, and one that cannot be used.
void describe(int index, DeviceNote* note) noexcept {
  std::strncpy(note->name, index == 0 ? kHandleDevice : "handles:1", sizeof note->name - 1);
  std::strncpy(note->description, index == 0 ? "memory that the host cannot address" : "broken", sizeof note->description - 1);
  if (index == 1) std::strncpy(note->reason, "it is there to be refused", sizeof note->reason - 1);
}

}  // namespace

HandleCounts handleCounts() {
  const Counters& c = counters();
  return {c.uploads, c.uploadedBytes, c.downloads, c.downloadedBytes, c.buffers};
}

Device* makeHandleDevice() { return new HandleDevice(); }

}  // namespace asdm::testing

ASDM_PLUGIN_EXPORT const asdm::DevicePlugin* asdm_device_plugin() noexcept {
  static const asdm::DevicePlugin plugin = {asdm::kPluginVersion,
                                            sizeof(asdm::KernelTable),
                                            asdm::testing::kHandleDevice,
                                            []() noexcept { return 2; },
                                            "",
                                            &asdm::testing::describe,
                                            [](int, asdm::Fault* fault) noexcept -> asdm::Device* {
                                              try {
                                                return asdm::testing::makeHandleDevice();
                                              } catch (...) {
                                                *fault = asdm::Fault(asdm::Code::OutOfMemory,
                                                                     "Expected memory for a device but the system gave none");
                                                return nullptr;
                                              }
                                            }};
  return &plugin;
}

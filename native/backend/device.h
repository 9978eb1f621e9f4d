// What computes: memory, queues of work, and the kernels that are put into them. Only a device's own code (native/cpu/, a plugin) knows
// where its memory lies and what its queue is; all others hold addresses, which they may add to and hand to kernels, and nothing else.
//
// A device may come from a library that another compiler of the same platform has built. So what crosses these interfaces is plain
// data: no exceptions, and no containers or strings of the standard library.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include "backend/kernels.h"
#include "core/status.h"

namespace asdm {

class ThreadPool;

// A Status as plain data. The text is one sentence, cut where it is too long.
struct Fault {
  Code code = Code::Ok;
  char text[1020] = {};

  Fault() = default;
  Fault(Code c, const char* sentence) noexcept : code(c) { std::strncpy(text, sentence, sizeof text - 1); }
  bool ok() const { return code == Code::Ok; }
};
Status statusOf(const Fault& fault);
Fault faultOf(const Status& status) noexcept;

// Work in order. Calls issue work and may return before it is done; finish() waits. For one thread at a time.
class Queue {
 public:
  virtual ~Queue() = default;

  // How many threads kernels share their work out to, as scratch functions are asked; 1 where the device decides by itself.
  virtual int threads() const noexcept = 0;

  // Between host memory and the device's. The host's side is to stay as it is until finish().
  virtual void upload(void* to, const void* host, uint64_t bytes) noexcept = 0;
  virtual void download(void* host, const void* from, uint64_t bytes) noexcept = 0;
  // Every byte becomes `value`.
  virtual void fill(void* to, uint8_t value, uint64_t bytes) noexcept = 0;

  // While set, a true value ends what is under way within tens of milliseconds; outputs are then unspecified. CancelScope sets it.
  virtual void setCancel(const std::atomic<bool>* cancel) noexcept = 0;
  // Waits for all that was issued. Fails with Aborted where the cancel flag is true, and with what befell the device.
  virtual Fault finish() noexcept = 0;

  // Times what is issued from now on, span by span: each mark() ends one and begins the next. The i-th span's seconds are in seconds[i]
  // after finish(); there must be room for all of them. Null: times no more.
  virtual void startTiming(double* seconds) noexcept = 0;
  virtual void mark() noexcept = 0;

  // Memory of the device that the next kernels may use as they like, of the size that their scratch functions gave.
  void setScratch(std::byte* scratch) { scratch_ = scratch; }
  std::byte* scratch() const { return scratch_; }

 private:
  std::byte* scratch_ = nullptr;
};

// Work on the queue looks at the flag while this lives.
class CancelScope {
 public:
  CancelScope(Queue& queue, const std::atomic<bool>& cancel) : queue_(queue) { queue_.setCancel(&cancel); }
  ~CancelScope() { queue_.setCancel(nullptr); }
  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

 private:
  Queue& queue_;
};

// Any thread may use a device; it lives as long as its buffers and queues.
class Device {
 public:
  virtual ~Device() = default;

  // As option `device` calls it: "cpu", "cuda:0".
  virtual const char* name() const noexcept = 0;
  virtual const DeviceTraits& traits() const noexcept = 0;
  // The kernels for a number format: F32, BF16, or I8, whose activations are BF16 and whose weights may be of either format. set: a
  // kernel set's name, or "auto". Fails with UnknownCpu, or UnsupportedConfig where the device does not compute in that format.
  virtual Fault kernels(const char* set, DType dtype, const KernelTable** table) const noexcept = 0;

  // Bytes that all buffers together may take, whoever holds them; UINT64_MAX if unknown.
  virtual uint64_t memoryLimit() const noexcept = 0;
  // Memory of the device, aligned as the traits say, contents unspecified; null when there is none.
  virtual void* allocate(uint64_t bytes) noexcept = 0;
  virtual void release(void* address, uint64_t bytes) noexcept = 0;
  // Host memory that the device reads fastest, 64-byte aligned; null when there is none.
  virtual void* allocateHost(uint64_t bytes) noexcept = 0;
  virtual void releaseHost(void* address, uint64_t bytes) noexcept = 0;
  // Tells memory checkers that nothing may touch these bytes of an allocation.
  virtual void forbid(void* address, uint64_t bytes) noexcept = 0;

  // host: threads of the host, for devices that compute on them; they outlive the queue. Null when memory is out.
  virtual Queue* openQueue(ThreadPool& host) noexcept = 0;
};

// Device::openQueue, or std::bad_alloc.
std::unique_ptr<Queue> openQueue(Device& device, ThreadPool& host);

// Owns memory of a device, or host memory for it, or nothing.
class Buffer {
 public:
  Buffer() = default;
  ~Buffer() { release(); }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  // Replace the memory by some of this size, contents unspecified; false, and an empty buffer, when memory is out.
  bool allocate(const std::shared_ptr<Device>& device, uint64_t bytes) { return take(device, bytes, false); }
  bool allocateHost(const std::shared_ptr<Device>& device, uint64_t bytes) { return take(device, bytes, true); }
  void release() noexcept;
  // An address of the device: to be added to and handed on, and to be looked at only where the traits say hostAddressable.
  std::byte* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

 private:
  bool take(const std::shared_ptr<Device>& device, uint64_t bytes, bool host);
  void swap(Buffer& other) noexcept;

  std::shared_ptr<Device> device_;
  std::byte* data_ = nullptr;
  uint64_t bytes_ = 0;
  bool host_ = false;
};

// Fails with OutOfMemory when `bytes` for `what`, with all that has to be there beside it, exceed what the device has.
Status checkRoom(const Device& device, double bytes, const char* what);
// That an allocation gave nothing.
Status outOfMemory(double bytes, const char* what);

}  // namespace asdm

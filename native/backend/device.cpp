#include "backend/device.h"

#include <algorithm>
#include <new>
#include <string>

namespace asdm {

namespace {

std::string megabytes(double bytes) { return std::to_string(static_cast<uint64_t>(bytes / 1048576.0)) + " MiB"; }

}  // namespace

Status statusOf(const Fault& fault) { return fault.ok() ? Status::good() : Status{fault.code, fault.text}; }

Fault faultOf(const Status& status) noexcept { return Fault(status.code, status.message.c_str()); }

std::unique_ptr<Queue> openQueue(Device& device, ThreadPool& host) {
  std::unique_ptr<Queue> queue(device.openQueue(host));
  if (queue == nullptr) throw std::bad_alloc();
  return queue;
}

bool Buffer::take(const std::shared_ptr<Device>& device, uint64_t bytes, bool host) {
  release();
  if (bytes == 0) return true;
  void* const got = host ? device->allocateHost(bytes) : device->allocate(bytes);
  if (got == nullptr) return false;
  device_ = device;
  data_ = static_cast<std::byte*>(got);
  bytes_ = bytes;
  host_ = host;
  return true;
}

void Buffer::release() noexcept {
  if (data_ != nullptr && host_) device_->releaseHost(data_, bytes_);
  else if (data_ != nullptr) device_->release(data_, bytes_);
  data_ = nullptr;
  bytes_ = 0;
  device_.reset();
}

void Buffer::swap(Buffer& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(host_, other.host_);
}

Status checkRoom(const Device& device, double bytes, const char* what) {
  const uint64_t limit = device.memoryLimit();
  if (bytes < 9e18 && bytes <= static_cast<double>(limit)) return Status::good();
  const bool host = device.traits().hostAddressable;
  return {Code::OutOfMemory, std::string("Expected ") + what + " to fit into memory but " + megabytes(std::min(bytes, 9e18)) +
                                 " are needed and " + (host ? "the machine" : device.name()) + " has " +
                                 megabytes(static_cast<double>(limit))};
}

Status outOfMemory(double bytes, const char* what) {
  return {Code::OutOfMemory, std::string("Expected memory for ") + what + ", " + megabytes(bytes) + ", but the system gave none"};
}

}  // namespace asdm

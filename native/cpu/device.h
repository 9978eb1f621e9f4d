// The CPU as a device: host memory, and the kernel sets of cpu/registry.h.
#pragma once

#include <memory>

#include "cpu/queue.h"

namespace asdm::cpu {

constexpr DeviceTraits kTraits = {kPackRows, 64, true};

std::shared_ptr<Device> makeDevice();

}  // namespace asdm::cpu

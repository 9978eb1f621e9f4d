// A device for tests whose memory the host cannot address: what it hands out are handles, to which offsets may be added, but which are no
// pointers; following one ends the process. Its kernels look handles up and are the CPU's. It counts what is copied, and remembers a
// handle that is none as the queue's fault.
#pragma once

#include <cstdint>
#include <memory>

#include "backend/device.h"

namespace asdm::testing {

// What all such devices of the process did.
struct HandleCounts {
  uint64_t uploads, uploadedBytes, downloads, downloadedBytes, buffers;  // buffers: alive
};
HandleCounts handleCounts();

constexpr char kHandleDevice[] = "handles";
Device* makeHandleDevice();

}  // namespace asdm::testing

// Kernels, and the table that a device has of them for each kernel set and number format: what is called with the arguments of
// backend/arguments.h and backend/training_arguments.h. Which there are is said in ops/ops.def.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/training_arguments.h"

namespace asdm {

class Queue;  // backend/device.h: where kernels run; carries their scratch

// What a device's memory and kernels ask of those who lay values out and make calls.
struct DeviceTraits {
  // A multiple of every kernel set's panels of output features: pieces of weights that begin and end at multiples of it are packed fastest
  // (PackArgs), and features with gates are a whole number of twice as many (LinearArgs::gated).
  int64_t panelRows;
  // Of every value's place, in bytes; a power of two.
  uint64_t alignment;
  // The host reaches the device's memory, and kernels the host's: addresses are pointers, nothing needs to be uploaded.
  bool hostAddressable;
};

// A kernel and the scratch bytes it wants for these arguments and this many threads (pointers are not read by scratch()).
template <class Args>
struct Kernel {
  void (*run)(const Args&, Queue&) noexcept = nullptr;
  size_t (*scratch)(const Args&, int threads) noexcept = nullptr;  // null: none
};

// One kernel set of a device at one activation dtype. A null `run` means unsupported; program compilation says so aloud.
struct KernelTable {
  const char* name;  // the kernel set's; of a CPU's, as cpu/sets.def has it
  const DeviceTraits* traits;  // of the device
  DType activations;  // F32 or BF16: what `void` pointers in argument structs point to
  size_t (*packedBytes)(const WeightShape&) noexcept;
  // These three may run on several threads at a time, and are done when they return; the first two say whether all numbers are finite.
  bool (*pack)(const PackArgs&, Queue&) noexcept;
  bool (*copyNumbers)(const NumbersArgs&, Queue&) noexcept;
  void (*addProduct)(const AddProductArgs&, Queue&) noexcept;
  // The way back from pack, for floats; null where the table has no training.
  void (*unpack)(const UnpackArgs&, Queue&) noexcept;
#define ASDM_KERNEL(entry, arguments, scratch, versions) Kernel<arguments> entry;
#include "ops/ops.def"
};

}  // namespace asdm

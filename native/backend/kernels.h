// Kernels, and the table that a device has of them for each kernel set and number format: what is called with the arguments of
// backend/arguments.h and backend/training_arguments.h.
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

// What training needs besides. Null where the table has none.
struct TrainingKernels {
  Kernel<LinearInputGradientArgs> linearInput;
  Kernel<LinearWeightGradientArgs> linearWeight;
  Kernel<ConvInputGradientArgs> convInput;
  Kernel<ConvWeightGradientArgs> convWeight;
  Kernel<CondConvGradientArgs> condConv;
  Kernel<GroupNormGradientArgs> groupNorm;
  Kernel<LayerNormGradientArgs> layerNorm;
  Kernel<AttentionGradientArgs> attention;
  Kernel<GegluGradientArgs> geglu;
  Kernel<ActivationGradientArgs> activation;
  Kernel<SliceArgs> slice;
  Kernel<SumRowsArgs> sumRows;
  Kernel<LossArgs> loss;
  Kernel<LossGradientArgs> lossGradient;
  Kernel<AdamWArgs> adamW;
  Kernel<AverageArgs> average;
  Kernel<SquaresArgs> squares;
  void (*unpack)(const UnpackArgs&, Queue&) noexcept = nullptr;
};

// One kernel set of a device at one activation dtype. A null `run` means unsupported; program compilation says so aloud.
struct KernelTable {
  const char* name;  // the kernel set's; of a CPU's, as cpu/sets.def has it
  const DeviceTraits* traits;  // of the device
  DType activations;  // F32 or BF16: what `void` pointers in argument structs point to
  size_t (*packedBytes)(const WeightShape&) noexcept;
  // These two may run on several threads at a time, and are done when they return: whether all numbers are finite.
  bool (*pack)(const PackArgs&, Queue&) noexcept;
  bool (*copyNumbers)(const NumbersArgs&, Queue&) noexcept;
  Kernel<LinearArgs> linear;
  Kernel<ConvArgs> conv;
  Kernel<CondConvArgs> condConv;
  Kernel<GroupNormArgs> groupNorm;
  Kernel<LayerNormArgs> layerNorm;
  Kernel<AttentionArgs> attention;
  Kernel<GegluArgs> geglu;
  Kernel<ActivationArgs> activation;
  Kernel<AddArgs> add;
  Kernel<ConcatArgs> concat;
  Kernel<EmbedArgs> embed;
  Kernel<TimestepArgs> timestep;
  Kernel<LayoutArgs> toChannelsLast;  // [n, c, pixels] -> [n, pixels, c]
  Kernel<LayoutArgs> toChannelsFirst;  // [n, pixels, c] -> [n, c, pixels]
  Kernel<LineArgs> line;
  Kernel<ChangeArgs> change;
  Kernel<CopyArgs> copy;
  TrainingKernels training;
};

}  // namespace asdm

// A UNet under training, free of JavaScript: what napi/ wraps. Names, shapes and files are checked here; the trainer below computes.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/thread_pool.h"
#include "runtime/model.h"
#include "runtime/trainer.h"

namespace asdm {

// A loss between a value of the UNet and a target that comes with each batch.
struct TrainingLoss {
  std::string name;            // in messages, and of its adapter; each once
  std::string unit;            // as Graph::taps has it; empty: the UNet's output
  Loss loss = Loss::SquaredError;
  // 0, or the channels of value and target where they differ: a trained linear layer over channels, adapters.`name`, lies between them.
  int64_t adapterIn = 0, adapterOut = 0;
};

struct TrainingOptions {
  std::string cpu = "auto";          // a kernel set's name
  std::vector<TrainingLoss> losses;  // at least one
  std::vector<std::string> trained;  // prefixes of weights, cut at dots; none: all. Adapters are trained in any case
  bool average = false;              // keeps a moving average of the trained weights
  bool textGradient = false;         // accumulate gives the gradient of the text features
};

// One tensor of the UNet, or of an adapter.
struct TrainedWeight {
  std::string name;
  std::vector<int64_t> shape;  // PyTorch's
  int64_t rows = 0;            // that read() counts it in, of equal lengths
  bool trained = false, adapter = false;
};

struct TrainingBatch {
  HostInputs values;               // of each input of the UNet
  std::vector<HostInput> targets;  // of each loss, in PyTorch's layout
  // Of each loss a factor for each sample in the sum that is differentiated.
  std::vector<std::vector<float>> weights;
};

struct TrainingResult {
  std::vector<std::vector<float>> losses;  // of each loss, by sample, without its factors
  HostTensor textGradient;                 // [N,L,D], where it was asked for
  uint64_t bytes = 0;                      // held now
};

// One caller at a time, which napi's queue sees to; but for weights(), cpu(), describe() and stateBytes(), which any thread may call. Memory for weights
// and all that goes with them is allocated by the first call of another method.
class Training {
 public:
  // spec: a UNet. UnsupportedConfig where an op of it, or the kernel set, cannot be trained; InvalidArgument, naming the loss or the prefix.
  static Status create(const ModelSpec& spec, const TrainingOptions& options, std::shared_ptr<Device> device,
                       std::shared_ptr<WorkerThreads> workers, std::unique_ptr<Training>* out);

  const std::string& cpu() const { return cpu_; }
  const Graph& graph() const { return plain_; }  // of the UNet alone
  std::vector<TrainedWeight> weights() const;
  // Bytes that activations will take at this size, besides bytes().
  Status describe(const ForwardShape& shape, uint64_t* activations) const;
  // Bytes of weights, gradients, moments and average.
  uint64_t stateBytes() const { return trainer_.stateBytes(); }
  // Bytes held now.
  uint64_t bytes() const { return allocated_ ? trainer_.bytes() : 0; }

  // Reads a kind's tensors, all or some of them, from files. nonFinite: those with numbers that are none or infinite.
  Status load(Trainer::Kind kind, const std::vector<WeightSource>& sources, const std::atomic<bool>& cancel,
              const std::function<void(uint64_t done, uint64_t total)>& progress, std::vector<std::string>* nonFinite);
  // Rows of one tensor, which lie one after the other.
  Status write(Trainer::Kind kind, const std::string& name, const std::vector<float>& values);
  Status read(Trainer::Kind kind, const std::string& name, int64_t first, int64_t rows, std::vector<float>* values);
  // Moments become zero, the average becomes the weights, and `steps` have been taken: the beginning, or what a checkpoint is restored by.
  Status begin(bool fresh, int64_t steps);

  // Forward and back; adds to the gradients. Forward alone where `backward` is false. Fails with InvalidArgument while weights are missing.
  Status accumulate(const TrainingBatch& batch, bool backward, const std::atomic<bool>& cancel, TrainingResult* out);
  // The first unit whose value is not finite; empty where all are.
  Status firstNonFinite(const TrainingBatch& batch, const std::atomic<bool>& cancel, std::string* unit);
  Status update(const UpdateOptions& options, const std::atomic<bool>& cancel, double* norm);
  int64_t steps() const { return trainer_.steps(); }

 private:
  struct Place {
    WeightId id = kNoWeight;
    size_t part = 0;
  };

  Training(const UNetConfig& config, std::shared_ptr<Device> device, std::shared_ptr<WorkerThreads> workers)
      : device_(std::move(device)), pool_(std::move(workers)), queue_(openQueue(*device_, pool_)), trainer_(device_, *queue_) {
    spec_.kind = ModelKind::UNet;
    spec_.unet = config;
  }
  Status allocate();
  Status find(Trainer::Kind kind, const std::string& name, Place* place) const;
  const WeightPart& partOf(const Place& place) const { return trainer_.graph().weights[static_cast<size_t>(place.id)].parts[place.part]; }
  int64_t widthOf(const Place& place) const { return trainer_.graph().weights[static_cast<size_t>(place.id)].rowWidth(); }
  Status loadOne(Trainer::Kind kind, const WeightSource& source, const Place& place, const std::atomic<bool>& cancel, bool* finite);
  Status given(const TrainingBatch& batch, std::vector<Trainer::Given>* list) const;

  ModelSpec spec_;
  std::string cpu_;
  TrainingOptions options_;
  const std::shared_ptr<Device> device_;
  ThreadPool pool_;
  const std::unique_ptr<Queue> queue_;
  const KernelTable* table_ = nullptr;
  Graph plain_;  // before it was differentiated
  std::vector<UnitId> predictions_;  // of each loss, in plain_
  Trainer trainer_;
  bool allocated_ = false;
  std::vector<std::vector<bool>> written_;  // which weights have values, by weight and part
};

}  // namespace asdm

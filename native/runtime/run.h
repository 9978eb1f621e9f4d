// Passes that hand features on, and the features: what models that take part in a run share.
#pragma once

#include <memory>
#include <mutex>

#include "backend/device.h"
#include "graph/configs.h"
#include "graph/run_plan.h"
#include "runtime/feature_histories.h"
#include "runtime/model.h"

namespace asdm {

struct Numbers {
  const float* data = nullptr;
  size_t count = 0;
};

// Of which text the constants are that lie in a run's kept memory. A text is compared, not trusted to be the same: it is small.
class ConstantState {
 public:
  // Are they there for this text, of the second half of the batch or of all?
  bool hold(Numbers text, bool half) const;
  void set(Numbers text, bool half);

 private:
  std::vector<float> whole_, half_;
};

// What a run needs to know of a model.
struct RunModel {
  std::shared_ptr<Device> device;
  std::shared_ptr<const Graph> graph;
  const KernelTable* table = nullptr;
  int threads = 1;
};

struct Run {
  // Compiles forward passes of UNets that hand features on. Fails with InvalidArgument (naming prefix and step, or the map), ShapeMismatch,
  // OutOfMemory, or Aborted.
  static Status create(const std::vector<RunModel>& models, const ForwardShape& shape, const RunSpec& spec, const std::atomic<bool>& cancel,
                       std::shared_ptr<Run>* run, RunInfo* info);

  // What later passes are conditioned by: a value for each input that is the same at every step, of the whole batch, or of its second half
  // for steps that run only that. Locks `mutex` itself. Fails as checkValues does.
  Status condition(HostInputs values);

  // The step's UNet; of a step that the run does not have, 0.
  size_t unetOf(size_t step) const { return step < steps_.size() ? steps_[step].unet : 0; }

  // The rest is for one thread at a time, under `mutex`.
  std::mutex mutex;
  RunPlan plan;
  Buffer kept;
  std::vector<ConstantState> constants;  // of each UNet
  size_t next = 0;  // the step that comes next
  bool probed = false;  // its probes have run
  bool broken = false;  // a pass did not end: what is kept is neither old nor new

  bool isHalf(size_t step) const { return steps_[step].conditionalOnly; }
  Status checkTurn(size_t step, bool probe) const;
  Status checkSize(size_t step, const ForwardShape& shape) const;
  Status checkProbes(size_t unet, const std::vector<size_t>& numbers) const;
  // The inputs of the step's UNet: those given, and what the run is conditioned by, which has to be there.
  Status inputsOf(size_t step, const HostInputs& given, std::vector<const void*>* inputs) const;
  // Of these the one that the constants are made of.
  Numbers textOf(size_t step) const;
  // Memory for what is kept, once. `besides`: bytes of weights, which have to fit too.
  Status reserve(uint64_t besides);
  // These run on a queue of the model whose pass it is, and fail with Aborted, or as Queue::finish does.
  // What stands before and after a pass of a step at a time step: features are continued; values are copied, and noted to be continued.
  Status prepare(const PlannedPass& pass, size_t step, double time, Queue& queue, const std::atomic<bool>& cancel);
  Status finish(const PlannedPass& pass, size_t step, double time, Queue& queue, const std::atomic<bool>& cancel);
  Status renew(size_t unet, const std::vector<size_t>& numbers, Queue& queue, const std::atomic<bool>& cancel);
  Status changes(size_t unet, Queue& queue, const std::atomic<bool>& cancel, std::vector<double>* changes);

 private:
  Status reserveSums(size_t unet, const Queue& queue);

  std::shared_ptr<Device> device_;
  std::vector<const KernelTable*> tables_;  // of each UNet
  std::vector<std::shared_ptr<const Graph>> graphs_;
  HostInputs conditions_;
  bool conditionsOfHalf_ = false;
  Buffer sums_;  // of changes: two for each probe, then scratch
  ForwardShape shape_;
  std::vector<RunStep> steps_;
  FeatureHistories histories_{{}, 0};
  std::vector<bool> measured_;  // UNets whose probes have run
  std::vector<std::vector<bool>> renewed_;  // of each UNet: probes that have something to be compared with
};

}  // namespace asdm

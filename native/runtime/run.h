// Passes that hand features on, and the features: what models that take part in a run share.
#pragma once

#include <memory>
#include <mutex>

#include "core/memory.h"
#include "core/thread_pool.h"
#include "graph/configs.h"
#include "graph/run_plan.h"
#include "runtime/feature_histories.h"
#include "runtime/model.h"

namespace asdm {

// Of which text the constants are that lie in a run's kept memory. A text is compared, not trusted to be the same: it is small.
class ConstantState {
 public:
  // Are they there for this text, of the second half of the batch or of all?
  bool hold(const std::vector<float>& text, bool half) const;
  void set(const std::vector<float>& text, bool half);

 private:
  std::vector<float> whole_, half_;
};

// What a run needs to know of a model.
struct RunModel {
  const ModelSpec* spec = nullptr;
  const Graph* graph = nullptr;
  const KernelTable* table = nullptr;
  int threads = 1;
};

struct Run {
  // See Model::createRun.
  static Status create(const std::vector<RunModel>& models, const ForwardShape& shape, const RunSpec& spec, std::shared_ptr<Run>* run,
                       RunInfo* info);

  // The rest is for one thread at a time, under `mutex`.
  std::mutex mutex;
  RunPlan plan;
  Block kept;
  std::vector<ConstantState> constants;  // of each UNet
  size_t next = 0;      // the step that comes next
  bool probed = false;  // its probes have run
  bool broken = false;  // a pass did not end: what is kept is neither old nor new

  bool isHalf(size_t step) const { return steps_[step].conditionalOnly; }
  Status checkTurn(size_t step, size_t unet, bool probe) const;
  Status checkSize(size_t step, const ForwardShape& shape) const;
  Status checkProbes(size_t unet, const std::vector<size_t>& numbers) const;
  // Memory for what is kept, once. `besides`: bytes of weights, which have to fit too.
  Status reserve(uint64_t besides);
  // These fail with Aborted.
  // What stands before and after a pass of a step at a time step: features are continued; values are copied, and noted to be continued.
  Status prepare(const PlannedPass& pass, size_t step, double time, ThreadPool& pool, const std::atomic<bool>& cancel);
  Status finish(const PlannedPass& pass, size_t step, double time, ThreadPool& pool, const std::atomic<bool>& cancel);
  Status renew(size_t unet, const std::vector<size_t>& numbers, ThreadPool& pool, const std::atomic<bool>& cancel);
  Status changes(size_t unet, ThreadPool& pool, const std::atomic<bool>& cancel, std::vector<double>* changes);

 private:
  ForwardShape shape_;
  std::vector<RunStep> steps_;
  FeatureHistories histories_{{}, 0};
  std::vector<bool> measured_;              // UNets whose probes have run
  std::vector<std::vector<bool>> renewed_;  // of each UNet: probes that have something to be compared with
};

// A run as one of its models knows it.
struct RunPart {
  std::shared_ptr<Run> run;
  size_t unet = 0;
};

}  // namespace asdm

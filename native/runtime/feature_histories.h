// Inherited features that go on along the line through their last two computed values: the first order of the Taylor series of
// TaylorSeer (arXiv 2503.06923), over time steps and with a factor on its slope.
#pragma once

#include <cstddef>
#include <vector>

#include "backend/device.h"
#include "graph/run_plan.h"

namespace asdm {

// When the values of a run's histories were computed. The values themselves lie in the run's kept memory.
class FeatureHistories {
 public:
  // factor: of the slope; 0 would leave features as they were computed.
  FeatureHistories(std::vector<KeptHistory> histories, double factor)
      : histories_(std::move(histories)), states_(histories_.size()), factor_(factor) {}

  // Both take numbers of histories, the kept memory, and whether the pass is of the second half of the batch only, and issue work on the queue.
  // Before a pass at `time` that reads these: v1 + factor * (time - t1) / (t1 - t0) * (v1 - v0), where v0 and v1 were computed last, at t0
  // and t1; v1 itself where nothing was computed before it, or at the same time.
  void resume(const std::vector<size_t>& numbers, std::byte* kept, bool half, double time, const KernelTable& table, Queue& queue) const;
  // After a pass at `time` that computed these.
  void note(const std::vector<size_t>& numbers, std::byte* kept, bool half, double time, const KernelTable& table, Queue& queue);

 private:
  // Of one half of the batch. The halves differ where steps run only the second.
  struct State {
    int computed = 0;  // 2 for any more
    int newest = 0;  // which of the history's two copies
    double times[2] = {0, 0};
  };
  struct States {
    State halves[2];
  };

  std::vector<KeptHistory> histories_;
  std::vector<States> states_;
  double factor_;
};

}  // namespace asdm

#include "runtime/feature_histories.h"

#include <cmath>

namespace asdm {

namespace {

// The half of a history that belongs to a half of the batch.
struct Half {
  const KeptHistory& history;
  std::byte* kept;
  uint64_t first, count;  // numbers

  Half(const KeptHistory& h, int half, std::byte* memory) : history(h), kept(memory) {
    const uint64_t middle = h.count / 2;
    first = half == 0 ? 0 : middle;
    count = half == 0 ? middle : h.count - middle;
  }
  uint64_t size() const { return static_cast<uint64_t>(dtypeBytes(history.dtype)); }
  std::byte* at(uint64_t offset) const { return kept + offset + first * size(); }
  std::byte* lowOf(const KeptHistory::Copy& copy) const { return copy.low ? at(*copy.low) : nullptr; }

  void copy(const KeptHistory::Copy& to, const KeptHistory::Copy& from, const KernelTable& table, Queue& queue) const {
    const auto bytes = static_cast<int64_t>(count * size());
    table.copy.run({at(from.offset), bytes, at(to.offset)}, queue);
    if (to.low) table.copy.run({lowOf(from), bytes, lowOf(to)}, queue);
  }
  void drawLine(int newest, float slope, const KernelTable& table, Queue& queue) const {
    const KeptHistory::Copy &last = history.computed[newest], &before = history.computed[1 - newest];
    table.line.run({at(last.offset), at(before.offset), static_cast<int64_t>(count), slope, at(history.now.offset), lowOf(last),
                    lowOf(before), lowOf(history.now)},
                   queue);
  }
};

}  // namespace

void FeatureHistories::resume(const std::vector<size_t>& numbers, std::byte* kept, bool half, double time, const KernelTable& table,
                              Queue& queue) const {
  for (size_t number : numbers)
    for (int h = half ? 1 : 0; h < 2; h++) {
      const State& state = states_[number].halves[h];
      if (state.computed < 2) continue;  // the value is as it was computed
      const double t1 = state.times[state.newest], t0 = state.times[1 - state.newest];
      const auto slope = static_cast<float>(t1 == t0 ? 0 : factor_ * (time - t1) / (t1 - t0));
      const KeptHistory& history = histories_[number];
      const Half values(history, h, kept);
      if (slope == 0 || !std::isfinite(slope)) values.copy(history.now, history.computed[state.newest], table, queue);
      else values.drawLine(state.newest, slope, table, queue);
    }
}

void FeatureHistories::note(const std::vector<size_t>& numbers, std::byte* kept, bool half, double time, const KernelTable& table,
                            Queue& queue) {
  for (size_t number : numbers)
    for (int h = half ? 1 : 0; h < 2; h++) {
      State& state = states_[number].halves[h];
      if (state.computed > 0) state.newest = 1 - state.newest;
      if (state.computed < 2) state.computed++;
      state.times[state.newest] = time;
      const KeptHistory& history = histories_[number];
      Half(history, h, kept).copy(history.computed[state.newest], history.now, table, queue);
    }
}

}  // namespace asdm

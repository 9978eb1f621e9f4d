#include "runtime/feature_histories.h"

#include <cmath>

#include "core/bf16.h"
#include "runtime/pieces.h"

namespace asdm {

namespace {

// Numbers of a history that belong to a half of the batch.
struct Range {
  uint64_t begin, count;
};

Range rangeOf(const KeptHistory& history, int half) {
  const uint64_t first = history.count / 2;
  return half == 0 ? Range{0, first} : Range{first, history.count - first};
}

void copyValue(const KeptHistory& history, const KeptHistory::Copy& to, const KeptHistory::Copy& from, Range range, std::byte* kept, ThreadPool& pool) {
  const auto size = static_cast<uint64_t>(dtypeBytes(history.dtype));
  const auto copy = [&](uint64_t into, uint64_t out) { copyBytes(kept + into + range.begin * size, kept + out + range.begin * size, range.count * size, pool); };
  copy(to.offset, from.offset);
  if (to.low) copy(*to.low, *from.low);
}

void store(float value, float* to, float*) { *to = value; }
void store(float value, Bf16* to, Bf16* low) {
  *to = toBf16(value);
  if (low != nullptr) *low = toBf16(value - toFloat(*to));
}

template <class Element>
struct Line {
  Element *value, *valueLow;  // the low parts are null where there are none
  const Element *last, *lastLow, *before, *beforeLow;
  float slope;

  static float whole(const Element* value, const Element* low, uint64_t i) { return toFloat(value[i]) + (low != nullptr ? toFloat(low[i]) : 0.0f); }
  void operator()(uint64_t begin, uint64_t end) const {
    for (uint64_t i = begin; i < end; i++) {
      const float v1 = whole(last, lastLow, i), v0 = whole(before, beforeLow, i);
      store(v1 + slope * (v1 - v0), value + i, valueLow != nullptr ? valueLow + i : nullptr);
    }
  }
};

template <class Element>
void drawLine(const KeptHistory& history, int newest, Range range, float slope, std::byte* kept, ThreadPool& pool) {
  const auto at = [&](uint64_t offset) { return reinterpret_cast<Element*>(kept + offset) + range.begin; };
  const auto lowOf = [&](const KeptHistory::Copy& copy) { return copy.low ? at(*copy.low) : nullptr; };
  const KeptHistory::Copy &last = history.computed[newest], &before = history.computed[1 - newest];
  inPieces(pool, range.count, Line<Element>{at(history.now.offset), lowOf(history.now), at(last.offset), lowOf(last), at(before.offset), lowOf(before), slope});
}

}  // namespace

void FeatureHistories::resume(const std::vector<size_t>& numbers, std::byte* kept, bool half, double time, ThreadPool& pool) const {
  for (size_t number : numbers)
    for (int h = half ? 1 : 0; h < 2; h++) {
      const State& state = states_[number].halves[h];
      if (state.computed < 2) continue;  // the value is as it was computed
      const double t1 = state.times[state.newest], t0 = state.times[1 - state.newest];
      const auto slope = static_cast<float>(t1 == t0 ? 0 : factor_ * (time - t1) / (t1 - t0));
      const KeptHistory& history = histories_[number];
      const Range range = rangeOf(history, h);
      if (slope == 0 || !std::isfinite(slope)) {
        copyValue(history, history.now, history.computed[state.newest], range, kept, pool);
      } else {
        const auto draw = history.dtype == DType::BF16 ? drawLine<Bf16> : drawLine<float>;
        draw(history, state.newest, range, slope, kept, pool);
      }
    }
}

void FeatureHistories::note(const std::vector<size_t>& numbers, std::byte* kept, bool half, double time, ThreadPool& pool) {
  for (size_t number : numbers)
    for (int h = half ? 1 : 0; h < 2; h++) {
      State& state = states_[number].halves[h];
      if (state.computed > 0) state.newest = 1 - state.newest;
      if (state.computed < 2) state.computed++;
      state.times[state.newest] = time;
      const KeptHistory& history = histories_[number];
      copyValue(history, history.computed[state.newest], history.now, rangeOf(history, h), kept, pool);
    }
}

}  // namespace asdm

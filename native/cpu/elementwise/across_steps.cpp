#include <algorithm>
#include <cmath>

#include "cpu/elementwise/elementwise.h"

namespace asdm::cpu {

namespace {

// Numbers in one task, a millisecond's work; changes are added up in runs of as many.
constexpr int64_t kRun = int64_t{1} << 18;

int64_t runs(int64_t count) { return (count + kRun - 1) / kRun; }

template <class E>
float whole(const E* value, const E* low, int64_t i) {
  return toFloat(value[i]) + (low != nullptr ? toFloat(low[i]) : 0.0f);
}

struct Sums {
  double difference, size;
};

}  // namespace

template <class E>
void line(const LineArgs& a, KernelContext& context) noexcept {
  const E *const last = static_cast<const E*>(a.last), *const lastLow = static_cast<const E*>(a.lastLow);
  const E *const before = static_cast<const E*>(a.before), *const beforeLow = static_cast<const E*>(a.beforeLow);
  E *const y = static_cast<E*>(a.y), *const yLow = static_cast<E*>(a.yLow);
  context.pool.run(runs(a.count), [&](int64_t task, int) {
    const int64_t end = std::min(a.count, (task + 1) * kRun);
    for (int64_t i = task * kRun; i < end; i++) {
      const float v1 = whole(last, lastLow, i), v0 = whole(before, beforeLow, i), value = v1 + a.slope * (v1 - v0);
      assign(y[i], value);
      if (yLow != nullptr) assign(yLow[i], value - toFloat(y[i]));
    }
  });
}

template <class E>
size_t changeScratch(const ChangeArgs& a, int) noexcept {
  return static_cast<size_t>(runs(a.count)) * sizeof(Sums);
}

template <class E>
void change(const ChangeArgs& a, KernelContext& context) noexcept {
  const E *const now = static_cast<const E*>(a.now), *const before = static_cast<const E*>(a.before);
  Sums* const parts = reinterpret_cast<Sums*>(context.scratch);
  context.pool.run(runs(a.count), [&](int64_t task, int) {
    const int64_t end = std::min(a.count, (task + 1) * kRun);
    Sums sums{0, 0};
    for (int64_t i = task * kRun; i < end; i++) {
      const double x = toFloat(now[i]), y = toFloat(before[i]);
      sums.difference += std::fabs(x - y);
      sums.size += std::fabs(y);
    }
    parts[task] = sums;
  });
  if (context.pool.cancelled()) return;
  for (int64_t i = 0; i < runs(a.count); i++) {
    a.sums[0] += parts[i].difference;
    a.sums[1] += parts[i].size;
  }
}

#define ASDM_INSTANTIATE(E)                                            \
  template void line<E>(const LineArgs&, KernelContext&) noexcept;     \
  template void change<E>(const ChangeArgs&, KernelContext&) noexcept; \
  template size_t changeScratch<E>(const ChangeArgs&, int) noexcept;

ASDM_INSTANTIATE(float)
ASDM_INSTANTIATE(Bf16)

}  // namespace asdm::cpu

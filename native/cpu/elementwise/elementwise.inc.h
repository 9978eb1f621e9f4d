// Bodies of the arithmetic elementwise kernels, for every set. Include after a vocabulary, element.inc.h, math.inc.h and math16.inc.h.
#pragma once

#include "core/old_glibc.h" // declares nothing

namespace asdm::cpu::ASDM_SET {

// 64 K elements: at most 256 KB in and out, some tens of microseconds, far below the abort latency and far above the cost of a task.
constexpr int64_t kRun = 65536;

ASDM_INLINE int64_t runs(int64_t count) { return (count + kRun - 1) / kRun; }

// Elements of a task: whole cache lines.
ASDM_INLINE int64_t runOf(int64_t count, int threads) { return 64 * rowsOfTask((count + 63) / 64, 64, kRun, threads); }

template <class E>
void activation(const ActivationArgs& a, KernelContext& context) noexcept {
  const E* const x = static_cast<const E*>(a.x);
  E* const y = static_cast<E*>(a.y);
  const int64_t run = runOf(a.count, context.pool.threads());
  context.pool.run((a.count + run - 1) / run, [&](int64_t task, int) {
    const int64_t end = (task + 1) * run < a.count ? (task + 1) * run : a.count;
    int64_t i = task * run;
    for (; i + kVf <= end; i += kVf) vstore(y + i, vactivateFor<E>(a.activation, vload(x + i)));
    if (i < end) {
      const int n = static_cast<int>(end - i);
      vstoren(y + i, vactivateFor<E>(a.activation, vloadn(x + i, n)), n);
    }
  });
}
ASDM_INSTANTIATE_KERNEL(activation, ActivationArgs)

// n values from i on with their low parts, if there are any.
template <class E>
ASDM_INLINE vf loadWhole(const E* x, const E* low, int64_t i, int n) {
  const vf value = vloadn(x + i, n);
  return low == nullptr ? value : vadd(value, vloadn(low + i, n));
}

template <class E>
void add(const AddArgs& a, KernelContext& context) noexcept {
  const E* const first = static_cast<const E*>(a.a);
  const E* const second = static_cast<const E*>(a.b);
  const E* const firstLow = static_cast<const E*>(a.aLow);
  const E* const secondLow = static_cast<const E*>(a.bLow);
  E* const y = static_cast<E*>(a.y);
  E* const yLow = static_cast<E*>(a.yLow);
  const int64_t run = runOf(a.count, context.pool.threads());
  context.pool.run((a.count + run - 1) / run, [&](int64_t task, int) {
    const int64_t end = (task + 1) * run < a.count ? (task + 1) * run : a.count;
    for (int64_t i = task * run; i < end; i += kVf) {
      const int n = static_cast<int>(end - i < kVf ? end - i : kVf);
      const vf sum = vadd(loadWhole(first, firstLow, i, n), loadWhole(second, secondLow, i, n));
      vstoren(y + i, sum, n);
      if (yLow != nullptr) vstoren(yLow + i, vsub(sum, vloadn(y + i, n)), n);
    }
  });
}
ASDM_INSTANTIATE_KERNEL(add, AddArgs)

template <class E>
void geglu(const GegluArgs& a, KernelContext& context) noexcept {
  const int64_t rowsPerTask = rowsOfTask(a.rows, a.inner, kRun, context.pool.threads());
  context.pool.run((a.rows + rowsPerTask - 1) / rowsPerTask, [&](int64_t task, int) {
    const int64_t last = (task + 1) * rowsPerTask < a.rows ? (task + 1) * rowsPerTask : a.rows;
    for (int64_t row = task * rowsPerTask; row < last; row++) {
      const E* value = static_cast<const E*>(a.x) + row * 2 * a.inner;
      const E* gate = value + a.inner;
      E* y = static_cast<E*>(a.y) + row * a.inner;
      int64_t j = 0;
      for (; j + kVf <= a.inner; j += kVf) vstore(y + j, vmul(vload(value + j), Math<E>::gelu(vload(gate + j))));
      if (j < a.inner) {
        const int n = static_cast<int>(a.inner - j);
        vstoren(y + j, vmul(vloadn(value + j, n), Math<E>::gelu(vloadn(gate + j, n))), n);
      }
    }
  });
}
ASDM_INSTANTIATE_KERNEL(geglu, GegluArgs)

// A few hundred values a pass: plain double arithmetic, the same in every set.
template <class E>
void timestep(const TimestepArgs& a, KernelContext&) noexcept {
  const int64_t half = a.dim / 2;
  for (int64_t i = 0; i < a.n; i++) {
    E* y = static_cast<E*>(a.y) + i * a.dim;
    E* sine = y + (a.flip ? half : 0);
    E* cosine = y + (a.flip ? 0 : half);
    for (int64_t j = 0; j < half; j++) {
      // The frequency is rounded to float, as the models' own training code had it.
      const double exponent = -9.210340371976184 * static_cast<double>(j) / (static_cast<double>(half) - a.freqShift);
      const float frequency = static_cast<float>(std::exp(exponent));
      const double angle = static_cast<double>(a.t[i]) * frequency;
      assign(sine[j], static_cast<float>(std::sin(angle)));
      assign(cosine[j], static_cast<float>(std::cos(angle)));
    }
    if (a.dim % 2 != 0) assign(y[a.dim - 1], 0.0f);
  }
}
ASDM_INSTANTIATE_KERNEL(timestep, TimestepArgs)

}  // namespace asdm::cpu::ASDM_SET

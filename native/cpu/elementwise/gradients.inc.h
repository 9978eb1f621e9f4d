// Gradients of the elementwise ops of floats, losses, and the optimizer. Include after elementwise.inc.h.
#pragma once

namespace asdm::cpu::ASDM_SET {

// body(i, lanes) for vectors of a run of numbers.
template <class Body>
ASDM_INLINE void eachVector(int64_t first, int64_t end, const Body& body) {
  for (int64_t i = first; i < end; i += kVf) body(i, static_cast<int>(end - i < kVf ? end - i : kVf));
}
// The same for tasks of kRun numbers.
template <class Body>
ASDM_INLINE void eachRun(int64_t count, ThreadPool& pool, const Body& body) {
  pool.run(runs(count), [&](int64_t task, int) { eachVector(task * kRun, task * kRun + kRun < count ? task * kRun + kRun : count, body); });
}

void activationGradient(const ActivationGradientArgs& a, KernelContext& context) noexcept {
  const float* const x = static_cast<const float*>(a.x);
  const float* const dy = static_cast<const float*>(a.dy);
  float* const dx = static_cast<float*>(a.dx);
  eachRun(a.count, context.pool,
          [&](int64_t i, int n) { vstoren(dx + i, vmul(vloadn(dy + i, n), vactivationSlope(a.activation, vloadn(x + i, n))), n); });
}

void gegluGradient(const GegluGradientArgs& a, KernelContext& context) noexcept {
  const int64_t step = kRun / a.inner > 1 ? kRun / a.inner : 1;
  context.pool.run((a.rows + step - 1) / step, [&](int64_t task, int) {
    const int64_t end = (task + 1) * step < a.rows ? (task + 1) * step : a.rows;
    for (int64_t row = task * step; row < end; row++) {
      const float* const value = static_cast<const float*>(a.x) + row * 2 * a.inner;
      const float* const gate = value + a.inner;
      const float* const dy = static_cast<const float*>(a.dy) + row * a.inner;
      float* const dx = static_cast<float*>(a.dx) + row * 2 * a.inner;
      eachVector(0, a.inner, [&](int64_t j, int n) {
        const vf g = vloadn(dy + j, n), at = vloadn(gate + j, n);
        vstoren(dx + j, vmul(g, vgelu(at)), n);
        vstoren(dx + a.inner + j, vmul(vmul(g, vloadn(value + j, n)), vgeluSlope(at)), n);
      });
    }
  });
}

// Sums of a sample's losses by runs of rows: so much of each run, in scratch, in double.
ASDM_INLINE int64_t lossRows(const LossArgs& a) { return kRun / a.c > 1 ? kRun / a.c : 1; }
ASDM_INLINE int64_t lossTasks(const LossArgs& a) { return (a.rows + lossRows(a) - 1) / lossRows(a); }
size_t lossScratch(const LossArgs& a, int) noexcept { return static_cast<size_t>(a.n * lossTasks(a)) * sizeof(double); }

// Of a pair of rows.
struct RowProducts {
  double across, first, second;
};
ASDM_INLINE RowProducts rowProducts(const float* p, const float* t, int64_t c) {
  vf across = vzero(), first = vzero(), second = vzero();
  eachVector(0, c, [&](int64_t j, int n) {
    const vf x = vloadn(p + j, n), y = vloadn(t + j, n);
    across = vfma(x, y, across);
    first = vfma(x, x, first);
    second = vfma(y, y, second);
  });
  return {static_cast<double>(vsum(across)), static_cast<double>(vsum(first)), static_cast<double>(vsum(second))};
}

void loss(const LossArgs& a, KernelContext& context) noexcept {
  const int64_t step = lossRows(a), tasks = lossTasks(a);
  double* const sums = reinterpret_cast<double*>(context.scratch);
  context.pool.run(a.n * tasks, [&](int64_t task, int) {
    const int64_t sample = task / tasks, first = task % tasks * step, end = first + step < a.rows ? first + step : a.rows;
    double total = 0;
    for (int64_t row = first; row < end; row++) {
      const int64_t at = (sample * a.rows + row) * a.c;
      const float* const p = static_cast<const float*>(a.prediction) + at;
      const float* const t = static_cast<const float*>(a.target) + at;
      if (a.loss == Loss::SquaredError) {
        vf sum = vzero();
        eachVector(0, a.c, [&](int64_t j, int n) {
          const vf d = vsub(vloadn(p + j, n), vloadn(t + j, n));
          sum = vfma(d, d, sum);
        });
        total += static_cast<double>(vsum(sum));
      } else {
        const RowProducts r = rowProducts(p, t, a.c);
        const double lengths = std::sqrt(r.first) * std::sqrt(r.second);
        total += lengths > 0 ? 1 - r.across / lengths : 1;
      }
    }
    sums[task] = total;
  });
  if (context.pool.cancelled()) return;
  const double count = static_cast<double>(a.loss == Loss::SquaredError ? a.rows * a.c : a.rows);
  for (int64_t sample = 0; sample < a.n; sample++) {
    double total = 0;
    for (int64_t task = 0; task < tasks; task++) total += sums[sample * tasks + task];
    a.y[sample] = static_cast<float>(total / count);
  }
}

void lossGradient(const LossGradientArgs& g, KernelContext& context) noexcept {
  const LossArgs& a = g.forward;
  const int64_t step = lossRows(a), tasks = lossTasks(a);
  context.pool.run(a.n * tasks, [&](int64_t task, int) {
    const int64_t sample = task / tasks, first = task % tasks * step, end = first + step < a.rows ? first + step : a.rows;
    const double weight = static_cast<double>(g.weight[sample]);
    for (int64_t row = first; row < end; row++) {
      const int64_t at = (sample * a.rows + row) * a.c;
      const float* const p = static_cast<const float*>(a.prediction) + at;
      const float* const t = static_cast<const float*>(a.target) + at;
      float* const dx = static_cast<float*>(g.dx) + at;
      if (a.loss == Loss::SquaredError) {
        const vf factor = vset(static_cast<float>(2 * weight / static_cast<double>(a.rows * a.c)));
        eachVector(0, a.c, [&](int64_t j, int n) { vstoren(dx + j, vmul(factor, vsub(vloadn(p + j, n), vloadn(t + j, n))), n); });
        continue;
      }
      // d cos / d p = t / (|p| |t|) - cos p / |p|^2
      const RowProducts r = rowProducts(p, t, a.c);
      const double lengths = std::sqrt(r.first) * std::sqrt(r.second), share = weight / static_cast<double>(a.rows);
      const vf ofTarget = vset(lengths > 0 ? static_cast<float>(-share / lengths) : 0.0f);
      const vf ofPrediction = vset(lengths > 0 ? static_cast<float>(share * r.across / (lengths * r.first)) : 0.0f);
      eachVector(0, a.c,
                 [&](int64_t j, int n) { vstoren(dx + j, vfma(ofTarget, vloadn(t + j, n), vmul(ofPrediction, vloadn(p + j, n))), n); });
    }
  });
}

void adamW(const AdamWArgs& a, KernelContext& context) noexcept {
  const vf shrink = vset(static_cast<float>(1.0 - static_cast<double>(a.rate) * static_cast<double>(a.decay))), scale = vset(a.scale);
  const vf toFirst = vset(static_cast<float>(1.0 - static_cast<double>(a.beta1))), keep = vset(a.beta2),
           toSecond = vset(static_cast<float>(1.0 - static_cast<double>(a.beta2)));
  const vf step = vset(static_cast<float>(static_cast<double>(a.rate) / a.correction1)),
           root = vset(static_cast<float>(std::sqrt(a.correction2))), eps = vset(a.eps);
  eachRun(a.count, context.pool, [&](int64_t i, int n) {
    const vf g = vmul(vloadn(a.gradient + i, n), scale), old = vloadn(a.first + i, n);
    const vf m = vfma(vsub(g, old), toFirst, old), v = vfma(vmul(toSecond, g), g, vmul(keep, vloadn(a.second + i, n)));
    const vf w = vmul(vloadn(a.weight + i, n), shrink);
    vstoren(a.first + i, m, n);
    vstoren(a.second + i, v, n);
    vstoren(a.weight + i, vsub(w, vmul(step, vdiv(m, vadd(vdiv(vsqrt(v), root), eps)))), n);
    vstoren(a.gradient + i, vzero(), n);
  });
}

void average(const AverageArgs& a, KernelContext& context) noexcept {
  const vf share = vset(static_cast<float>(1.0 - static_cast<double>(a.keep)));
  eachRun(a.count, context.pool, [&](int64_t i, int n) {
    const vf old = vloadn(a.average + i, n);
    vstoren(a.average + i, vfma(vsub(vloadn(a.weight + i, n), old), share, old), n);
  });
}

size_t squaresScratch(const SquaresArgs& a, int) noexcept { return static_cast<size_t>(runs(a.count)) * sizeof(double); }

// Each vector's squares are summed in float over 1,024 numbers, those in double.
void squares(const SquaresArgs& a, KernelContext& context) noexcept {
  double* const sums = reinterpret_cast<double*>(context.scratch);
  context.pool.run(runs(a.count), [&](int64_t task, int) {
    const int64_t end = task * kRun + kRun < a.count ? task * kRun + kRun : a.count;
    double total = 0;
    for (int64_t first = task * kRun; first < end; first += 1024) {
      vf sum = vzero();
      eachVector(first, first + 1024 < end ? first + 1024 : end, [&](int64_t i, int n) {
        const vf x = vloadn(a.x + i, n);
        sum = vfma(x, x, sum);
      });
      total += static_cast<double>(vsum(sum));
    }
    sums[task] = total;
  });
  if (context.pool.cancelled()) return;
  *a.sum = 0;
  for (int64_t task = 0; task < runs(a.count); task++) *a.sum += sums[task];
}

// In float over a run of rows, then in double.
ASDM_INLINE int64_t sumRowsRun(const SumRowsArgs& a) { return kRun / a.c > 1 ? kRun / a.c : 1; }
size_t sumRowsScratch(const SumRowsArgs& a, int) noexcept {
  return static_cast<size_t>(a.n * ((a.rows + sumRowsRun(a) - 1) / sumRowsRun(a)) * a.c) * sizeof(float);
}
void sumRows(const SumRowsArgs& a, KernelContext& context) noexcept {
  const int64_t step = sumRowsRun(a), tasks = (a.rows + step - 1) / step;
  float* const parts = reinterpret_cast<float*>(context.scratch);
  context.pool.run(a.n * tasks, [&](int64_t task, int) {
    const int64_t sample = task / tasks, first = task % tasks * step, end = first + step < a.rows ? first + step : a.rows;
    const float* const x = static_cast<const float*>(a.x) + sample * a.rows * a.c;
    eachVector(0, a.c, [&](int64_t j, int n) {
      vf sum = vzero();
      for (int64_t row = first; row < end; row++) sum = vadd(sum, vloadn(x + row * a.c + j, n));
      vstoren(parts + task * a.c + j, sum, n);
    });
  });
  if (context.pool.cancelled()) return;
  float* const y = static_cast<float*>(a.y);
  for (int64_t sample = 0; sample < a.n; sample++)
    for (int64_t j = 0; j < a.c; j++) {
      double sum = 0;
      for (int64_t task = 0; task < tasks; task++) sum += static_cast<double>(parts[(sample * tasks + task) * a.c + j]);
      y[sample * a.c + j] = static_cast<float>(sum);
    }
}

}  // namespace asdm::cpu::ASDM_SET

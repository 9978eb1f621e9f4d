// Gradients of conditional convolutions, for every set. Include after gradient.inc.h.
//
// Sample by sample, with its mixed kernel W = sum of r[e] W[e] and the gradient G that a plain convolution by W would give it:
//   dW[e] += r[e] G;  dr[e] = <G, W[e]> + <dbias, bias[e]>;  dz by the derivative of sigmoid or softmax;
//   d router weight[e] += dz[e] mean(x);  and each pixel of dx gets sum of dz[e] router weight[e] / pixels beside the convolution's part.
#pragma once

namespace asdm::cpu::ASDM_SET {

constexpr int64_t kExpertRun = 16384;  // numbers of all experts that one task walks

struct CondGradientPlan {
  ConvArgs one;  // of one sample
  InputGradientPlan input;
  int64_t numbers, runs;  // of a packed kernel
  size_t routing, mixed, gradient, dots, small, rest;
};

ASDM_INLINE CondGradientPlan condGradientPlan(const CondConvArgs& f, int threads) {
  CondGradientPlan plan{};
  plan.one = f.conv;
  plan.one.n = 1;
  plan.input = inputGradientPlan(plan.one);
  plan.numbers = static_cast<int64_t>(packedBytes<float>(f.conv.shape) / sizeof(float));
  plan.runs = ceilDiv(plan.numbers, kExpertRun);
  plan.routing = layOutRouting(f, nullptr, nullptr);
  plan.mixed = plan.gradient = wholeLines(plan.numbers);
  plan.dots = (static_cast<size_t>(plan.runs * f.experts) * sizeof(double) + 63) / 64 * 64;
  plan.small = wholeLines(f.conv.shape.n) + wholeLines(f.conv.shape.channels);  // the bias's gradient, the mean's
  ConvWeightGradientArgs weights{plan.one, nullptr, nullptr, nullptr};
  const size_t a = plan.input.weights + plan.input.spread + convScratch<float>(plan.input.conv, threads),
               b = convWeightGradientScratch(weights, threads);
  plan.rest = plan.input.resized + (a > b ? a : b);
  return plan;
}

size_t condConvGradientScratch(const CondConvGradientArgs& a, int threads) noexcept {
  const CondGradientPlan plan = condGradientPlan(a.forward, threads);
  return plan.routing + plan.mixed + plan.gradient + plan.dots + plan.small + plan.rest;
}

// dw[e] += r[e] g over numbers first.., and gives <g, w[e]>; lanes in float, runs in double.
ASDM_INLINE double spreadOverExpert(const float* g, const float* w, float rate, int64_t count, float* dw) {
  vf dot[2] = {vzero(), vzero()};
  const vf r = vset(rate);
  for (int64_t i = 0; i < count; i += kVf) {  // whole panels, so whole vectors
    const vf gradient = vload(g + i);
    dot[i / kVf % 2] = vfma(gradient, vload(w + i), dot[i / kVf % 2]);
    if (dw != nullptr) vstore(dw + i, vfma(r, gradient, vload(dw + i)));
  }
  return static_cast<double>(vsum(vadd(dot[0], dot[1])));
}

void condConvGradient(const CondConvGradientArgs& a, KernelContext& context) noexcept {
  const CondConvArgs& f = a.forward;
  const CondGradientPlan plan = condGradientPlan(f, context.pool.threads());
  RoutingScratch s;
  layOutRouting(f, context.scratch, &s);
  std::byte* at = context.scratch + plan.routing;
  const auto take = [&](size_t bytes) {
    std::byte* const here = at;
    at += bytes;
    return here;
  };
  float* const mixed = reinterpret_cast<float*>(take(plan.mixed));
  float* const gradient = reinterpret_cast<float*>(take(plan.gradient));
  double* const dots = reinterpret_cast<double*>(take(plan.dots));
  float* const dBias = reinterpret_cast<float*>(take(wholeLines(f.conv.shape.n)));
  float* const dMean = reinterpret_cast<float*>(take(wholeLines(f.conv.shape.channels)));
  float* const resized = reinterpret_cast<float*>(take(plan.input.resized));
  KernelContext rest{context.pool, at};

  const Pooling pooling = poolingOf(f.conv);
  const int64_t pixels = pooling.height * pooling.width, c = f.conv.shape.channels, n = f.conv.shape.n,
                outPixels = f.conv.outH * f.conv.outW;
  context.pool.run(f.conv.n * pooling.pieces, [&](int64_t task, int) {
    const int64_t sample = task / pooling.pieces, first = task % pooling.pieces * kPoolRows;
    poolPixels<float>(f.conv, pooling, sample, first, pixels - first < kPoolRows ? pixels - first : kPoolRows, s.sums + task * c);
  });
  context.pool.run(f.conv.n, [&](int64_t sample, int) { route(f, sample, s); });
  if (context.pool.cancelled()) return;

  const size_t distance = expertBytes(packedBytes<float>(f.conv.shape));
  const auto expert = [&](int64_t e) {
    return reinterpret_cast<const float*>(static_cast<const std::byte*>(f.conv.weight) + static_cast<size_t>(e) * distance);
  };
  const bool routes = a.dRouterWeight != nullptr || a.dRouterBias != nullptr || a.dx != nullptr;
  for (int64_t sample = 0; sample < f.conv.n; sample++) {
    const float* const rates = s.rates + sample * f.experts;
    const float* const dy = static_cast<const float*>(a.dy) + sample * outPixels * n;
    ConvArgs one = plan.one;
    one.x = static_cast<const float*>(f.conv.x) + sample * f.conv.h * f.conv.w * c;
    double dRate[kMaxExperts] = {}, dz[kMaxExperts] = {};
    if (routes || a.dWeight != nullptr) {
      context.pool.run(plan.runs, [&](int64_t run, int) {
        const int64_t first = run * kExpertRun;
        std::memset(gradient + first, 0, static_cast<size_t>(smaller(kExpertRun, plan.numbers - first)) * sizeof(float));
      });
      weightGradient(productOf<float>(one), dy, gradient, rest);
      context.pool.run(plan.runs, [&](int64_t run, int) {
        const int64_t first = run * kExpertRun, count = smaller(kExpertRun, plan.numbers - first);
        for (int64_t e = 0; e < f.experts; e++) {
          float* const dw = a.dWeight == nullptr
                                ? nullptr
                                : reinterpret_cast<float*>(reinterpret_cast<std::byte*>(a.dWeight) + static_cast<size_t>(e) * distance);
          dots[run * f.experts + e] =
              spreadOverExpert(gradient + first, expert(e) + first, rates[e], count, dw == nullptr ? nullptr : dw + first);
        }
      });
    }
    if (context.pool.cancelled()) return;
    std::memset(dBias, 0, static_cast<size_t>(n) * sizeof(float));
    if (f.conv.bias != nullptr) addColumnSums(dy, outPixels, n, dBias, rest);
    for (int64_t e = 0; e < f.experts; e++) {
      for (int64_t run = 0; run < plan.runs && routes; run++) dRate[e] += dots[run * f.experts + e];
      for (int64_t j = 0; j < n && f.conv.bias != nullptr; j++) {
        dRate[e] += static_cast<double>(dBias[j]) * static_cast<double>(f.conv.bias[e * n + j]);
        if (a.dBias != nullptr) a.dBias[e * n + j] += rates[e] * dBias[j];
      }
    }
    double mixedRate = 0;
    for (int64_t e = 0; e < f.experts; e++) mixedRate += dRate[e] * static_cast<double>(rates[e]);
    for (int64_t e = 0; e < f.experts; e++) {
      const double r = static_cast<double>(rates[e]);
      dz[e] = f.routing == Routing::Softmax ? r * (dRate[e] - mixedRate) : dRate[e] * r * (1 - r);
      if (a.dRouterBias != nullptr) a.dRouterBias[e] += static_cast<float>(dz[e]);
    }
    for (int64_t j = 0; j < c; j++) {
      double mean = 0, back = 0;
      for (int64_t piece = 0; piece < pooling.pieces; piece++)
        mean += static_cast<double>(s.sums[(sample * pooling.pieces + piece) * c + j]);
      mean /= static_cast<double>(pixels);
      for (int64_t e = 0; e < f.experts; e++) {
        back += dz[e] * static_cast<double>(f.routerWeight[e * c + j]);
        if (a.dRouterWeight != nullptr) a.dRouterWeight[e * c + j] += static_cast<float>(dz[e] * mean);
      }
      // Over the resized pixels; where those are all alike in number, that is the share of the plain ones too.
      dMean[j] = static_cast<float>(back / static_cast<double>(plan.input.conv.outH * plan.input.conv.outW));
    }
    if (a.dx == nullptr) continue;
    context.pool.run(plan.runs, [&](int64_t run, int) {
      const int64_t first = run * kExpertRun, count = smaller(kExpertRun, plan.numbers - first);
      for (int64_t i = 0; i < count; i += kVf) {
        vf sum = vzero();
        for (int64_t e = 0; e < f.experts; e++)
          if (rates[e] != 0.0f) sum = vfma(vset(rates[e]), vload(expert(e) + first + i), sum);
        vstore(mixed + first + i, sum);
      }
    });
    float* const dx = static_cast<float*>(a.dx) + sample * f.conv.h * f.conv.w * c;
    float* const inner = f.conv.resizeH > 0 ? resized : dx;
    innerInputGradient(one, plan.input, dy, mixed, inner, rest);
    context.pool.run(plan.input.conv.outH, [&](int64_t row, int) {
      float* to = inner + row * plan.input.conv.outW * c;
      for (int64_t x = 0; x < plan.input.conv.outW; x++, to += c)
        for (int64_t j = 0; j < c; j += kVf) {
          const int lanes = static_cast<int>(smaller(kVf, c - j));
          vstoren(to + j, vadd(vloadn(to + j, lanes), vloadn(dMean + j, lanes)), lanes);
        }
    });
    if (f.conv.resizeH > 0) gatherResized(one, inner, dx, context.pool);
  }
}

}  // namespace asdm::cpu::ASDM_SET

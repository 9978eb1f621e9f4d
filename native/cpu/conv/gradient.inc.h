// Gradients of convolutions of floats, for every set. Include after conv.inc.h and cond_conv.inc.h.
//
// With regard to the input: dx[i] = sum over taps of dy[(i + pad - tap) / stride] . w[tap], a convolution by the transposed weights with the
// taps turned about, of steps of 1; where the forward one took longer steps, dy is first spread out with zeros between, which costs
// what it costs Winograd's algorithm to multiply by them, a quarter. With regard to the weights: a product of neighbourhoods (gemm/gradient.inc.h).
#pragma once

namespace asdm::cpu::ASDM_SET {

ASDM_INLINE size_t wholeLines(int64_t floats) { return (static_cast<size_t>(floats) * sizeof(float) + 63) / 64 * 64; }

// Where everything lies in scratch: the transposed weights, dy spread out, the gradient of the resized input, then the convolution's own.
struct InputGradientPlan {
  ConvArgs conv;  // dy -> dx, or to the gradient of the resized input
  size_t weights, spread, resized;
};

ASDM_INLINE InputGradientPlan inputGradientPlan(const ConvArgs& f) {
  InputGradientPlan plan{};
  ConvArgs& c = plan.conv;
  c.n = f.n;
  c.h = (f.outH - 1) * f.stride + 1;
  c.w = (f.outW - 1) * f.stride + 1;
  c.kernelH = f.kernelH;
  c.kernelW = f.kernelW;
  c.stride = 1;
  c.padTop = f.kernelH - 1 - f.padTop;
  c.padLeft = f.kernelW - 1 - f.padLeft;
  c.outH = f.resizeH > 0 ? f.resizeH : f.h;
  c.outW = f.resizeH > 0 ? f.resizeW : f.w;
  c.shape = transposed(f.shape);
  c.ldRowBias = c.shape.n;
  plan.weights = transposedBytes(f.shape);
  plan.spread = f.stride > 1 ? wholeLines(c.n * c.h * c.w * f.shape.n) : 0;
  plan.resized = f.resizeH > 0 ? wholeLines(c.n * c.outH * c.outW * f.shape.channels) : 0;
  return plan;
}

// to[sample, y * stride, x * stride, :] = dy[sample, y, x, :], zeros elsewhere.
ASDM_INLINE void spreadGradient(const ConvArgs& f, const ConvArgs& to, const float* dy, float* out, ThreadPool& pool) {
  const int64_t n = f.shape.n;
  pool.run(f.n * to.h, [&](int64_t row, int) {
    float* const at = out + row * to.w * n;
    std::memset(at, 0, static_cast<size_t>(to.w * n) * sizeof(float));
    const int64_t sample = row / to.h, y = row % to.h;
    if (y % f.stride != 0) return;
    const float* const from = dy + (sample * f.outH + y / f.stride) * f.outW * n;
    for (int64_t x = 0; x < f.outW; x++) std::memcpy(at + x * f.stride * n, from + x * n, static_cast<size_t>(n) * sizeof(float));
  });
}

// dx[y, x] = sum of those pixels of the resized map that are copies of it; floor(dest * in / out) says of which.
ASDM_INLINE void gatherResized(const ConvArgs& f, const float* resized, float* dx, ThreadPool& pool) {
  const int64_t c = f.shape.channels;
  pool.run(f.n * f.h, [&](int64_t row, int) {
    const int64_t sample = row / f.h, y = row % f.h;
    float* const out = dx + row * f.w * c;
    std::memset(out, 0, static_cast<size_t>(f.w * c) * sizeof(float));
    for (int64_t dest = (y * f.resizeH + f.h - 1) / f.h; dest < f.resizeH && dest * f.h / f.resizeH == y; dest++) {
      const float* from = resized + (sample * f.resizeH + dest) * f.resizeW * c;
      for (int64_t x = 0; x < f.resizeW; x++, from += c) {
        float* const to = out + x * f.w / f.resizeW * c;
        for (int64_t j = 0; j < c; j += kVf) {
          const int lanes = static_cast<int>(c - j < kVf ? c - j : kVf);
          vstoren(to + j, vadd(vloadn(to + j, lanes), vloadn(from + j, lanes)), lanes);
        }
      }
    }
  });
}

// The gradient of what the convolution itself reads: of the resized input, where there is one.
ASDM_INLINE void innerInputGradient(const ConvArgs& f, InputGradientPlan plan, const float* dy, const float* weight, float* to,
                                    KernelContext& context) {
  float* const turned = reinterpret_cast<float*>(context.scratch);
  packTransposed(f.shape, weight, turned, context.pool);
  plan.conv.x = dy;
  if (f.stride > 1) {
    float* const spread = reinterpret_cast<float*>(context.scratch + plan.weights);
    spreadGradient(f, plan.conv, dy, spread, context.pool);
    plan.conv.x = spread;
  }
  plan.conv.weight = turned;
  plan.conv.y = to;
  KernelContext rest{context.pool, context.scratch + plan.weights + plan.spread};
  conv<float>(plan.conv, rest);
}

void convInputGradient(const ConvInputGradientArgs& a, KernelContext& context) noexcept {
  const InputGradientPlan plan = inputGradientPlan(a.forward);
  const bool resized = a.forward.resizeH > 0;
  float* const to = resized ? reinterpret_cast<float*>(context.scratch) : static_cast<float*>(a.dx);
  KernelContext rest{context.pool, context.scratch + plan.resized};
  innerInputGradient(a.forward, plan, static_cast<const float*>(a.dy), static_cast<const float*>(a.forward.weight), to, rest);
  if (resized) gatherResized(a.forward, to, static_cast<float*>(a.dx), context.pool);
}
size_t convInputGradientScratch(const ConvInputGradientArgs& a, int threads) noexcept {
  const InputGradientPlan plan = inputGradientPlan(a.forward);
  return plan.resized + plan.weights + plan.spread + convScratch<float>(plan.conv, threads);
}

void convWeightGradient(const ConvWeightGradientArgs& a, KernelContext& context) noexcept {
  const float* const dy = static_cast<const float*>(a.dy);
  if (a.dWeight != nullptr) weightGradient(productOf<float>(a.forward), dy, a.dWeight, context);
  if (a.dBias != nullptr) addColumnSums(dy, a.forward.n * a.forward.outH * a.forward.outW, a.forward.shape.n, a.dBias, context);
}
size_t convWeightGradientScratch(const ConvWeightGradientArgs& a, int threads) noexcept {
  const size_t product = weightGradientScratch(threads),
               sums = columnSumsScratch(a.forward.n * a.forward.outH * a.forward.outW, a.forward.shape.n);
  return product > sums ? product : sums;
}

}  // namespace asdm::cpu::ASDM_SET

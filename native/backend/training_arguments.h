// The arguments of what training needs besides, as those of backend/arguments.h.
#pragma once

#include "backend/arguments.h"

namespace asdm {

// Gradients. dy is the gradient of a loss with regard to the op's y, dense and of y's shape; dx that with regard to x, of x's. `forward`
// is the op's own arguments, of which a gradient reads what its contract names. Gradients of weights are floats, laid out as the weights
// themselves are (a matrix as it is packed), and what is computed is added to what lies there; a null one is not wanted. Sums have an order
// that follows from sizes alone, as everywhere.

// dx = dy . w; x [m, channels], dy [m, n], dense. Reads weight.
struct LinearInputGradientArgs {
  const void* dy;
  int64_t m;
  WeightShape shape;
  const void* weight;
  void* dx;
  template <class Each>
  void addresses(const Each& each) {
    each(dy), each(weight), each(dx);
  }
};

// dWeight += dy^T . x, dBias += sum of dy's rows.
struct LinearWeightGradientArgs {
  const void* x;
  const void* dy;
  int64_t m;
  WeightShape shape;
  float* dWeight;
  float* dBias;
  template <class Each>
  void addresses(const Each& each) {
    each(x), each(dy), each(dWeight), each(dBias);
  }
};

// Reads forward.weight. The transposed convolution; of a resized input the sum over all pixels that are copies of one.
struct ConvInputGradientArgs {
  ConvArgs forward;
  const void* dy;
  void* dx;
  template <class Each>
  void addresses(const Each& each) {
    forward.addresses(each), each(dy), each(dx);
  }
};

// Reads forward.x.
struct ConvWeightGradientArgs {
  ConvArgs forward;
  const void* dy;
  float* dWeight;
  float* dBias;
  template <class Each>
  void addresses(const Each& each) {
    forward.addresses(each), each(dy), each(dWeight), each(dBias);
  }
};

// All of a conditional convolution's at once, since the router's are made of the kernels'. Reads forward's x, weights and biases.
struct CondConvGradientArgs {
  CondConvArgs forward;
  const void* dy;
  void* dx;
  float* dWeight;  // experts expertBytes() apart, as they are packed
  float* dBias;  // [K, co]
  float* dRouterWeight;  // [K, c]
  float* dRouterBias;  // [K]
  template <class Each>
  void addresses(const Each& each) {
    forward.addresses(each), each(dy), each(dx), each(dWeight), each(dBias), each(dRouterWeight), each(dRouterBias);
  }
};

// Reads forward's x, gamma, beta. dx may be dy.
struct GroupNormGradientArgs {
  GroupNormArgs forward;
  const void* dy;
  void* dx;
  float* dGamma;
  float* dBeta;
  template <class Each>
  void addresses(const Each& each) {
    forward.addresses(each), each(dy), each(dx), each(dGamma), each(dBeta);
  }
};
struct LayerNormGradientArgs {
  LayerNormArgs forward;
  const void* dy;
  void* dx;
  float* dGamma;
  float* dBeta;
  template <class Each>
  void addresses(const Each& each) {
    forward.addresses(each), each(dy), each(dx), each(dGamma), each(dBeta);
  }
};

// o: what forward gave, in rows of distance forward.ldo. Reads forward's q, k and v. The weights are computed anew block by block from the scores; no score matrix is ever whole. dq, dk and dv
// have rows of distance ldq, ldk and ldv like q, k and v.
struct AttentionGradientArgs {
  AttentionArgs forward;
  bool queries, keys;  // is dq wanted, are dk and dv?
  const void *o, *dy;  // dy as o
  void *dq, *dk, *dv;
  template <class Each>
  void addresses(const Each& each) {
    forward.addresses(each), each(o), each(dy), each(dq), each(dk), each(dv);
  }
};

// x [rows, 2 * inner]; dy [rows, inner].
struct GegluGradientArgs {
  const void* x;
  const void* dy;
  int64_t rows, inner;
  void* dx;
  template <class Each>
  void addresses(const Each& each) {
    each(x), each(dy), each(dx);
  }
};

// dx may be dy.
struct ActivationGradientArgs {
  const void* x;
  const void* dy;
  int64_t count;
  Activation activation;
  void* dx;
  template <class Each>
  void addresses(const Each& each) {
    each(x), each(dy), each(dx);
  }
};

// y[i, :] = x[i, first : first + width]; x [rows, columns], y [rows, width]. What a concatenation's gradient is to one of its inputs.
struct SliceArgs {
  const void* x;
  int64_t rows, columns, first, width;
  void* y;
  template <class Each>
  void addresses(const Each& each) {
    each(x), each(y);
  }
};

// y[i, :] = sum of x's rows; x [n, rows, c], y [n, c]. The gradient of a row bias.
struct SumRowsArgs {
  const void* x;
  int64_t n, rows, c;
  void* y;
  template <class Each>
  void addresses(const Each& each) {
    each(x), each(y);
  }
};

// How far a prediction is from a target, for each sample; both [n, rows, c], y [n].
//   SquaredError  y[i] = mean over rows and channels of (prediction - target)^2
//   Cosine        y[i] = mean over rows of 1 - cos(prediction's row, target's row); a row of zeros counts as at right angles
enum class Loss : uint8_t { SquaredError, Cosine };
struct LossArgs {
  const void *prediction, *target;
  int64_t n, rows, c;
  Loss loss;
  float* y;
  template <class Each>
  void addresses(const Each& each) {
    each(prediction), each(target), each(y);
  }
};

// dx = the gradient of sum over samples of weight[i] * y[i] with regard to the prediction.
struct LossGradientArgs {
  LossArgs forward;
  const float* weight;  // [n]
  void* dx;
  template <class Each>
  void addresses(const Each& each) {
    forward.addresses(each), each(weight), each(dx);
  }
};

// One step of AdamW (Loshchilov & Hutter, arXiv 1711.05101, algorithm 2), as torch.optim.AdamW computes it:
//   w = w (1 - rate * decay);  m = m + (g - m)(1 - beta1);  v = v beta2 + (1 - beta2) g^2
//   w = w - rate / correction1 * m / (sqrt(v) / sqrt(correction2) + eps)
// with g = gradient * scale and correction = 1 - beta^step. The gradient is zero afterwards. All dense, of any layout, as it is the same for all.
struct AdamWArgs {
  float *weight, *gradient, *first, *second;
  int64_t count;
  float scale;
  float rate, beta1, beta2, eps, decay;
  double correction1, correction2;
  template <class Each>
  void addresses(const Each& each) {
    each(weight), each(gradient), each(first), each(second);
  }
};

// average = average * keep + weight * (1 - keep).
struct AverageArgs {
  float* average;
  const float* weight;
  int64_t count;
  float keep;
  template <class Each>
  void addresses(const Each& each) {
    each(average), each(weight);
  }
};

// *sum = the sum of squares, in double.
struct SquaresArgs {
  const float* x;
  int64_t count;
  double* sum;
  template <class Each>
  void addresses(const Each& each) {
    each(x), each(sum);
  }
};

// The way back from PackArgs: output features first..first+rows-1 in PyTorch's order, as floats of the host. Of what has the layout of a packed
// matrix of floats. Done when the call returns.
struct UnpackArgs {
  WeightShape shape;
  const void* packed;
  int64_t first;
  int64_t rows;
  float* to;
};

}  // namespace asdm

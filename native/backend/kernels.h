// The op set as kernels see it: one argument struct per op with its contract, and the table a backend fills in. Kernels know
// nothing of graphs. They are noexcept, assume shapes checked (ops/shapes.cpp), write nothing outside their outputs and scratch,
// read scratch only after writing it, and give the same bits for any number of threads.
//
// Layout: channels last. "rows" are pixels or tokens. A leading dimension ld* is the distance between rows in elements, at least
// the row's width. 64-byte alignment is usual but not promised.
//
// Numbers: `void` pointers are to activations, in the format that the table names (KernelTable::activations): float, or bfloat16
// (core/bf16.h). Biases, norms' parameters and time steps are float in any case. With bfloat16 a kernel computes
// in float (accumulation, epilogue, statistics, softmax) and rounds once, to nearest even, as it stores; so a fused epilogue rounds
// once where separate operations round each.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/tensor.h"
#include "core/thread_pool.h"

namespace asdm {

enum class Activation : uint8_t { None, Silu, Gelu, QuickGelu };  // Gelu is the exact one, by erf

// Scratch of the size the kernel's own scratch function gave, 64-byte aligned.
struct KernelContext {
  ThreadPool& pool;
  std::byte* scratch;
};

// How the numbers of a packed matrix are stored: as the table's activations, as 8-bit integers with scales, or as floats whatever the
// activations, the product then being one of floats.
enum class WeightFormat : uint8_t { Native, I8, F32 };

// The right-hand side of a product: n output features from k inputs, stored packed in the kernel set's own format.
// For a convolution k = area * channels, ordered tap first (kh, kw, c); for a linear layer area = 1.
struct WeightShape {
  int64_t n = 0;         // output features
  int64_t channels = 0;  // input features
  int64_t area = 1;      // kh * kw
  WeightFormat format = WeightFormat::Native;
  int64_t k() const { return channels * area; }
};

// Packs `rows` output features, first..first+rows-1, out of PyTorch's order: source is [rows][channels][area] (OIHW), F32, F16 or
// BF16 as `stored` says, at any address. Rows may come in any order and in any pieces, on several threads too; once all n came, the
// whole packed block is defined. Pieces that begin and end at multiples of kPackRows are packed fastest.
struct PackArgs {
  WeightShape shape;
  const void* source;
  int64_t first;
  int64_t rows;
  void* packed;
  DType stored = DType::F32;
};
constexpr int64_t kPackRows = 64;  // a multiple of every set's panels

// The way back: output features first..first+rows-1 in PyTorch's order, as floats. Of what has the layout of a packed matrix of floats.
struct UnpackArgs {
  WeightShape shape;
  const void* packed;
  int64_t first;
  int64_t rows;
  float* to;
};

// to[i] = from[i]: F32, F16 or BF16 at any address, exactly to F32 or rounded to BF16.
struct NumbersArgs {
  DType stored;
  const void* from;
  int64_t count;
  DType kept;
  void* to;
};

// Low parts (bfloat16 only): what rounding took from a sum, itself rounded to bfloat16. A chain of sums, as a UNet's residual
// connections are, then does not gather roundings: the next sum adds residual + residualLow, and only its own readers see a value
// rounded once. Products and sums write them, and read those of what is added, whatever their weights' format; those with float weights and norms also
// read that of x, where they would feel its rounding most. All pointers to low parts may be null.

// y[i, :] = act(x[i, :] . w^T + bias) + residual[i, :]   for rows i < m; x [m, k], y [m, n].
// Accumulation order over k is fixed. Rounding: the sum is rounded to float, then bias, then act, then residual are applied one by
// one, so that with float activations a fused residual equals a separate Add bit for bit. y may be the same memory as residual (same ld); it may not overlap x.
// Gated: the second half of the features are gates of the first, y [m, n / 2], y[i, j] = v[i, j] * gelu(v[i, n / 2 + j]) with
// v = x . w^T + bias in float, as GegluArgs says. Then activation is Gelu, n a multiple of 2 * kPackRows, and residual null.
struct LinearArgs {
  const void* x;
  int64_t m, ldx;
  WeightShape shape;
  const void* weight;     // packed
  const float* bias;      // [n] or null
  Activation activation;
  const void* residual;  // or null
  int64_t ldr;
  void* y;
  int64_t ldy;
  const void* residualLow = nullptr;  // as residual, or null: 0
  void* yLow = nullptr;               // as y, or null: not wanted. May be the same memory as residualLow
  const void* xLow = nullptr;         // as x, or null: 0. With WeightFormat::F32 only
  bool gated = false;
  int64_t width() const { return gated ? shape.n / 2 : shape.n; }  // of y
};

// Cross-correlation as torch.nn.functional.conv2d. x [n, h, w, c]; y [n, outH, outW, co], both dense.
// The input may first be resized to [resizeH, resizeW] by nearest neighbour (source = floor(dest * in / out), as torch's
// interpolate), which is never materialised; 0 means no resizing. Padding is zeros; bottom and right padding follow from outH, outW.
// y = conv(x) + bias + rowBias[sample, :], then + residual, rounded as in LinearArgs. y may be the same memory as residual.
// The sum may be taken by Winograd's algorithm, then a NaN or an infinity spoils its whole tile.
struct ConvArgs {
  const void* x;
  int64_t n, h, w;
  int64_t resizeH, resizeW;
  int64_t kernelH, kernelW, stride, padTop, padLeft;
  int64_t outH, outW;
  WeightShape shape;       // channels = c, n = co, area = kernelH * kernelW
  const void* weight;      // packed
  const float* bias;       // [co] or null
  const void* rowBias;    // [n, co], sample's stride ldRowBias, or null: the time embedding
  int64_t ldRowBias;
  const void* residual;   // [n, outH, outW, co] or null
  void* y;
  const void* residualLow = nullptr;  // as residual, or null; low parts
  void* yLow = nullptr;               // as y, or null
  const void* xLow = nullptr;         // as x, or null. With WeightFormat::F32 only
};

enum class Routing : uint8_t { Sigmoid, Softmax };

// A convolution by a mixture of K kernels, mixed anew for each sample (CondConv, Yang et al., arXiv 1904.04971):
//   r[i, :] = routing(mean over pixels of x[i], resized if it is, . routerWeight^T + routerBias)
//   y[i] = conv of x[i] by sum_k r[i, k] kernel[k], with bias sum_k r[i, k] bias[k]
// and for the rest as in ConvArgs, whose weight holds the kernels, packed as for a convolution of that shape, expertBytes() apart,
// and whose bias is [K, co]. Sigmoid rates each expert by itself; softmax's rates sum to one.
// Mixtures are summed in ascending k and skip an expert whose rate is exactly 0, whatever it holds; a rate of exactly 1 with all
// others 0 is that expert's kernel itself, so that y has the bits of the plain convolution by it.
struct CondConvArgs {
  ConvArgs conv;
  int64_t experts;            // K
  Routing routing;
  const float* routerWeight;  // [K, c]
  const float* routerBias;    // [K]
};

// Distance of the experts' kernels, each of packedBytes bytes.
inline size_t expertBytes(size_t packedBytes) { return (packedBytes + 63) / 64 * 64; }

// Group norm over (pixels, channels of the group), statistics per sample (Wu & He 2018, eq. 1-2): biased variance, eps inside the
// root, then optionally SiLU. x, y [n, rows, c]; c % groups == 0. y may be x.
struct GroupNormArgs {
  const void* x;
  int64_t n, rows, c, groups;
  float eps;
  const float* gamma;  // [c]
  const float* beta;   // [c]
  bool silu;
  void* y;
  const void* xLow = nullptr;  // low part of x, or null. Statistics are those of x alone: roundings cancel in them
};

// Layer norm over each row. x, y [rows, c] dense. y may be x.
struct LayerNormArgs {
  const void* x;
  int64_t rows, c;
  float eps;
  const float* gamma;
  const float* beta;
  void* y;
  const void* xLow = nullptr;  // low part of x, or null, as in GroupNormArgs
};

// o = softmax(scale * q k^T) v per sample and head; the score matrix is never whole in memory. Row (sample b, position i) of q is
// at q + (b * qLength + i) * ldq + head * headDim, likewise k, v (kLength), o (qLength). causal: position i sees positions <= i
// (then qLength == kLength). headDim up to 1024, any kLength >= 1.
struct AttentionArgs {
  const void *q, *k, *v;
  int64_t ldq, ldk, ldv;
  int64_t batch, heads, qLength, kLength, headDim;
  float scale;
  bool causal;
  void* o;
  int64_t ldo;
};

// y[i, j] = x[i, j] * gelu(x[i, inner + j]), gelu by erf; x [rows, 2 * inner] dense, y [rows, inner] dense.
struct GegluArgs {
  const void* x;
  int64_t rows, inner;
  void* y;
};

// y = act(x) element by element. y may be x.
struct ActivationArgs {
  const void* x;
  int64_t count;
  Activation activation;
  void* y;
};

// y = a + b element by element, with low parts (a + aLow) + (b + bLow). y may be a or b.
struct AddArgs {
  const void *a, *b;
  int64_t count;
  void* y;
  const void *aLow = nullptr, *bLow = nullptr;  // low parts, or null: 0
  void* yLow = nullptr;                         // that of y, or null: not wanted
};

// y[i, :] = [a[i, :], b[i, :]]; a [rows, ca], b [rows, cb], y [rows, ca + cb], dense.
struct ConcatArgs {
  const void *a, *b;
  int64_t rows, ca, cb;
  void* y;
  const void *aLow = nullptr, *bLow = nullptr;  // low parts, or null: 0
  void* yLow = nullptr;                         // that of y, or null: not wanted
};

// y[b, i, :] = token[ids[b * length + i], :] + position[i, :]; ids are checked to lie in the table before. Tables are activations.
struct EmbedArgs {
  const int32_t* ids;
  int64_t batch, length, width;
  const void* token;     // [vocabulary, width]
  const void* position;  // [>= length, width]
  void* y;
};

// Sinusoidal features of a time step (Vaswani et al. 2017, section 3.5, as diffusers lays them out): with half = dim / 2 and
// f_i = exp(-ln(10000) i / (half - freqShift)): [sin(t f), cos(t f)], or [cos, sin] when flip. An odd dim ends with 0.
// Angles are computed in double: they reach 999 rad.
struct TimestepArgs {
  const float* t;  // [n]
  int64_t n, dim;
  bool flip;
  float freqShift;
  void* y;        // [n, dim]
};

// Transposes between PyTorch's [n, c, pixels] and channels last [n, pixels, c], and converts: what is in PyTorch's order is the
// caller's and float, what is channels last are activations. One channel is a conversion, no more.
struct LayoutArgs {
  const void* x;
  int64_t n, c, pixels;
  void* y;
  void* yLow = nullptr;  // the low part of what becomes activations, or null: not wanted
};

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
};

// dWeight += dy^T . x, dBias += sum of dy's rows.
struct LinearWeightGradientArgs {
  const void* x;
  const void* dy;
  int64_t m;
  WeightShape shape;
  float* dWeight;
  float* dBias;
};

// Reads forward.weight. The transposed convolution; of a resized input the sum over all pixels that are copies of one.
struct ConvInputGradientArgs {
  ConvArgs forward;
  const void* dy;
  void* dx;
};

// Reads forward.x.
struct ConvWeightGradientArgs {
  ConvArgs forward;
  const void* dy;
  float* dWeight;
  float* dBias;
};

// All of a conditional convolution's at once, since the router's are made of the kernels'. Reads forward's x, weights and biases.
struct CondConvGradientArgs {
  CondConvArgs forward;
  const void* dy;
  void* dx;
  float* dWeight;        // experts expertBytes() apart, as they are packed
  float* dBias;          // [K, co]
  float* dRouterWeight;  // [K, c]
  float* dRouterBias;    // [K]
};

// Reads forward's x, gamma, beta. dx may be dy.
struct GroupNormGradientArgs {
  GroupNormArgs forward;
  const void* dy;
  void* dx;
  float* dGamma;
  float* dBeta;
};
struct LayerNormGradientArgs {
  LayerNormArgs forward;
  const void* dy;
  void* dx;
  float* dGamma;
  float* dBeta;
};

// Reads forward's q, k, v and o. The weights are computed anew block by block from the scores; no score matrix is ever whole. dq, dk and dv
// have rows of distance ldq, ldk and ldv like q, k and v.
struct AttentionGradientArgs {
  AttentionArgs forward;
  bool queries, keys;  // is dq wanted, are dk and dv?
  const void* dy;      // as o
  void *dq, *dk, *dv;
};

// x [rows, 2 * inner]; dy [rows, inner].
struct GegluGradientArgs {
  const void* x;
  const void* dy;
  int64_t rows, inner;
  void* dx;
};

// dx may be dy.
struct ActivationGradientArgs {
  const void* x;
  const void* dy;
  int64_t count;
  Activation activation;
  void* dx;
};

// y[i, :] = x[i, first : first + width]; x [rows, columns], y [rows, width]. What a concatenation's gradient is to one of its inputs.
struct SliceArgs {
  const void* x;
  int64_t rows, columns, first, width;
  void* y;
};

// y[i, :] = sum of x's rows; x [n, rows, c], y [n, c]. The gradient of a row bias.
struct SumRowsArgs {
  const void* x;
  int64_t n, rows, c;
  void* y;
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
};

// dx = the gradient of sum over samples of weight[i] * y[i] with regard to the prediction.
struct LossGradientArgs {
  LossArgs forward;
  const float* weight;  // [n]
  void* dx;
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
};

// average = average * keep + weight * (1 - keep).
struct AverageArgs {
  float* average;
  const float* weight;
  int64_t count;
  float keep;
};

// *sum = the sum of squares, in double.
struct SquaresArgs {
  const float* x;
  int64_t count;
  double* sum;
};

// A kernel and the scratch bytes it wants for these arguments and this many threads (pointers are not read by scratch()).
template <class Args>
struct Kernel {
  void (*run)(const Args&, KernelContext&) = nullptr;
  size_t (*scratch)(const Args&, int threads) = nullptr;  // null: none
};

// What training needs besides. Null where the table has none.
struct TrainingKernels {
  Kernel<LinearInputGradientArgs> linearInput;
  Kernel<LinearWeightGradientArgs> linearWeight;
  Kernel<ConvInputGradientArgs> convInput;
  Kernel<ConvWeightGradientArgs> convWeight;
  Kernel<CondConvGradientArgs> condConv;
  Kernel<GroupNormGradientArgs> groupNorm;
  Kernel<LayerNormGradientArgs> layerNorm;
  Kernel<AttentionGradientArgs> attention;
  Kernel<GegluGradientArgs> geglu;
  Kernel<ActivationGradientArgs> activation;
  Kernel<SliceArgs> slice;
  Kernel<SumRowsArgs> sumRows;
  Kernel<LossArgs> loss;
  Kernel<LossGradientArgs> lossGradient;
  Kernel<AdamWArgs> adamW;
  Kernel<AverageArgs> average;
  Kernel<SquaresArgs> squares;
  void (*unpack)(const UnpackArgs&) = nullptr;
};

// One backend's kernels at one activation dtype. A null `run` means unsupported; program compilation says so aloud.
struct KernelTable {
  const char* name;  // the kernel set's, as cpu/sets.def has it
  DType activations;  // F32 or BF16: what `void` pointers in argument structs point to
  size_t (*packedBytes)(const WeightShape&);
  bool (*pack)(const PackArgs&);            // whether all numbers are finite
  bool (*copyNumbers)(const NumbersArgs&);  // whether all numbers are finite
  Kernel<LinearArgs> linear;
  Kernel<ConvArgs> conv;
  Kernel<CondConvArgs> condConv;
  Kernel<GroupNormArgs> groupNorm;
  Kernel<LayerNormArgs> layerNorm;
  Kernel<AttentionArgs> attention;
  Kernel<GegluArgs> geglu;
  Kernel<ActivationArgs> activation;
  Kernel<AddArgs> add;
  Kernel<ConcatArgs> concat;
  Kernel<EmbedArgs> embed;
  Kernel<TimestepArgs> timestep;
  Kernel<LayoutArgs> toChannelsLast;   // [n, c, pixels] -> [n, pixels, c]
  Kernel<LayoutArgs> toChannelsFirst;  // [n, pixels, c] -> [n, c, pixels]
  TrainingKernels training;
};

}  // namespace asdm

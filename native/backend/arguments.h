// The op set as kernels see it: one argument struct per op with its contract; those of training in backend/training_arguments.h. Kernels know
// nothing of graphs. They are noexcept, assume shapes checked (graph/shapes.cpp), write nothing outside their outputs and scratch,
// read scratch only after writing it, and give the same bits for any number of threads. Pointers are addresses of the device, or of the
// host where its traits say that this is the same; scratch is aligned to 64 bytes.
//
// addresses(each) calls each(pointer) with a reference to every pointer of the arguments, null ones too: for devices whose addresses are not
// the host's.
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

namespace asdm {

// Gelu is the exact one, by erf; SoftClamp is 3 tanh(x / 3), FromSigned (x + 1) / 2 and ToSigned 2 x - 1.
enum class Activation : uint8_t { None, Silu, Gelu, QuickGelu, Relu, SoftClamp, FromSigned, ToSigned };

// How the numbers of a packed matrix are stored: as the table's activations, as 8-bit integers with scales, or as floats whatever the
// activations, the product then being one of floats.
enum class WeightFormat : uint8_t { Native, I8, F32 };

// The right-hand side of a product: n output features from k inputs, stored packed in the kernel set's own format.
// For a convolution k = area * channels, ordered tap first (kh, kw, c); for a linear layer area = 1.
struct WeightShape {
  int64_t n = 0;  // output features
  int64_t channels = 0;  // input features
  int64_t area = 1;  // kh * kw
  WeightFormat format = WeightFormat::Native;
  int64_t k() const { return channels * area; }
};

// Packs `rows` output features, first..first+rows-1, out of PyTorch's order: source is [rows][channels][area] (OIHW), F32, F16 or
// BF16 as `stored` says, at any address. Rows may come in any order and in any pieces, on several threads too; once all n came, the
// whole packed block is defined. Pieces that begin and end at multiples of DeviceTraits::panelRows are packed fastest. The source is host
// memory, and free again when the call returns.
struct PackArgs {
  WeightShape shape;
  const void* source;
  int64_t first;
  int64_t rows;
  void* packed;
  DType stored = DType::F32;
};

// What a LoRA adds to rows of a weight between reading and packing: to[r][c] += float(scale * float(sum over k of up[r][k] * down[k][c])).
// Sums are in double, k after k, so that every kernel set and lib/lora/numbers.ts get the same bits. All of it is the host's memory, and as for
// packing, any thread may.
struct AddProductArgs {
  const float* up;  // [rows][rank]
  const float* down;  // [rank][columns]
  int64_t rows;
  int64_t rank;
  int64_t columns;
  double scale;
  float* to;  // [rows][columns]
};

// to[i] = from[i]: F32, F16 or BF16 at any address of the host, exactly to F32 or rounded to BF16. As for packing, any thread may.
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
// v = x . w^T + bias in float, as GegluArgs says. Then activation is Gelu, n a multiple of 2 * DeviceTraits::panelRows, and residual null.
struct LinearArgs {
  const void* x;
  int64_t m, ldx;
  WeightShape shape;
  const void* weight;  // packed
  const float* bias;  // [n] or null
  Activation activation;
  const void* residual;  // or null
  int64_t ldr;
  void* y;
  int64_t ldy;
  const void* residualLow = nullptr;  // as residual, or null: 0
  void* yLow = nullptr;  // as y, or null: not wanted. May be the same memory as residualLow
  const void* xLow = nullptr;  // as x, or null: 0. With WeightFormat::F32 only
  bool gated = false;
  int64_t width() const { return gated ? shape.n / 2 : shape.n; }  // of y
  template <class Each>
  void addresses(const Each& each) {
    each(x), each(weight), each(bias), each(residual), each(y), each(residualLow), each(yLow), each(xLow);
  }
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
  WeightShape shape;  // channels = c, n = co, area = kernelH * kernelW
  const void* weight;  // packed
  const float* bias;  // [co] or null
  const void* rowBias;  // [n, co], sample's stride ldRowBias, or null: the time embedding
  int64_t ldRowBias;
  const void* residual;  // [n, outH, outW, co] or null
  void* y;
  const void* residualLow = nullptr;  // as residual, or null; low parts
  void* yLow = nullptr;  // as y, or null
  const void* xLow = nullptr;  // as x, or null. With WeightFormat::F32 only
  template <class Each>
  void addresses(const Each& each) {
    each(x), each(weight), each(bias), each(rowBias), each(residual), each(y), each(residualLow), each(yLow), each(xLow);
  }
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
  int64_t experts;  // K
  Routing routing;
  const float* routerWeight;  // [K, c]
  const float* routerBias;  // [K]
  template <class Each>
  void addresses(const Each& each) {
    conv.addresses(each), each(routerWeight), each(routerBias);
  }
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
  const float* beta;  // [c]
  bool silu;
  void* y;
  const void* xLow = nullptr;  // low part of x, or null. Statistics are those of x alone: roundings cancel in them
  template <class Each>
  void addresses(const Each& each) {
    each(x), each(gamma), each(beta), each(y), each(xLow);
  }
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
  template <class Each>
  void addresses(const Each& each) {
    each(x), each(gamma), each(beta), each(y), each(xLow);
  }
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
  template <class Each>
  void addresses(const Each& each) {
    each(q), each(k), each(v), each(o);
  }
};

// y[i, j] = x[i, j] * gelu(x[i, inner + j]), gelu by erf; x [rows, 2 * inner] dense, y [rows, inner] dense.
struct GegluArgs {
  const void* x;
  int64_t rows, inner;
  void* y;
  template <class Each>
  void addresses(const Each& each) {
    each(x), each(y);
  }
};

// y = act(x) element by element. y may be x.
struct ActivationArgs {
  const void* x;
  int64_t count;
  Activation activation;
  void* y;
  template <class Each>
  void addresses(const Each& each) {
    each(x), each(y);
  }
};

// y = a + b element by element, with low parts (a + aLow) + (b + bLow). y may be a or b.
struct AddArgs {
  const void *a, *b;
  int64_t count;
  void* y;
  const void *aLow = nullptr, *bLow = nullptr;  // low parts, or null: 0
  void* yLow = nullptr;  // that of y, or null: not wanted
  template <class Each>
  void addresses(const Each& each) {
    each(a), each(b), each(y), each(aLow), each(bLow), each(yLow);
  }
};

// y[i, :] = [a[i, :], b[i, :]]; a [rows, ca], b [rows, cb], y [rows, ca + cb], dense.
struct ConcatArgs {
  const void *a, *b;
  int64_t rows, ca, cb;
  void* y;
  const void *aLow = nullptr, *bLow = nullptr;  // low parts, or null: 0
  void* yLow = nullptr;  // that of y, or null: not wanted
  template <class Each>
  void addresses(const Each& each) {
    each(a), each(b), each(y), each(aLow), each(bLow), each(yLow);
  }
};

// y[b, i, :] = token[ids[b * length + i], :] + position[i, :]; ids are checked to lie in the table before. Tables are activations.
struct EmbedArgs {
  const int32_t* ids;
  int64_t batch, length, width;
  const void* token;  // [vocabulary, width]
  const void* position;  // [>= length, width]
  void* y;
  template <class Each>
  void addresses(const Each& each) {
    each(ids), each(token), each(position), each(y);
  }
};

// Sinusoidal features of a time step (Vaswani et al. 2017, section 3.5, as diffusers lays them out): with half = dim / 2 and
// f_i = exp(-ln(10000) i / (half - freqShift)): [sin(t f), cos(t f)], or [cos, sin] when flip. An odd dim ends with 0.
// Angles are computed in double: they reach 999 rad.
struct TimestepArgs {
  const float* t;  // [n]
  int64_t n, dim;
  bool flip;
  float freqShift;
  void* y;  // [n, dim]
  template <class Each>
  void addresses(const Each& each) {
    each(t), each(y);
  }
};

// Transposes between PyTorch's [n, c, pixels] and channels last [n, pixels, c], and converts: what is in PyTorch's order is the
// caller's and float, what is channels last are activations. One channel is a conversion, no more.
struct LayoutArgs {
  const void* x;
  int64_t n, c, pixels;
  void* y;
  void* yLow = nullptr;  // the low part of what becomes activations, or null: not wanted
  template <class Each>
  void addresses(const Each& each) {
    each(x), each(y), each(yLow);
  }
};

// What plans do with values that they hand on from step to step.

// y[i] = v1 + slope * (v1 - v0) in float, with v1 = last[i] + lastLow[i] and v0 = before[i] + beforeLow[i]: values that go on along the
// line through two computed ones. y overlaps none of them. Low parts as in AddArgs.
struct LineArgs {
  const void *last, *before;
  int64_t count;
  float slope;
  void* y;
  const void *lastLow = nullptr, *beforeLow = nullptr;
  void* yLow = nullptr;
  template <class Each>
  void addresses(const Each& each) {
    each(last), each(before), each(y), each(lastLow), each(beforeLow), each(yLow);
  }
};

// How much values changed: sums[0] += sum of |now[i] - before[i]|, sums[1] += sum of |before[i]|, in double, in an
// order that follows from count alone. Nothing overlaps.
struct ChangeArgs {
  const void *now, *before;
  int64_t count;
  double* sums;  // [2]
  template <class Each>
  void addresses(const Each& each) {
    each(now), each(before), each(sums);
  }
};

// y = x, byte by byte; they do not overlap.
struct CopyArgs {
  const void* x;
  int64_t bytes;
  void* y;
  template <class Each>
  void addresses(const Each& each) {
    each(x), each(y);
  }
};

}  // namespace asdm

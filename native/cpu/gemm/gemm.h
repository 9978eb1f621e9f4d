// Matrix products: y[i, :] = act(x[i, :] . w^T + bias) + residual[i, :]; contracts in backend/arguments.h (LinearArgs).
//
// One blocked product (gemm.inc.h) serves linear layers and convolutions; what differs is where a row of the left side comes from.
// E is the activations' type, float or Bf16; set avx512bf16 has those for Bf16 only.
// Packed weights: for each block of k, for each panel of kNv vectors of output features: [k of the block][panel width], of type E. So
// a task that walks a block's panels in order reads memory in order. avx512bf16 multiplies pairs: [k / 2][panel width][2], the last
// pair filled up with zero. left.inc.h has what differs between the two.
// The left side is copied, a tile of kMr rows times one k block at a time, to rows of fixed distance: the tile kernel then
// addresses all its rows from one register, and neither padding nor strides reach it.
// Sums: within a k block one chain per element in ascending k; the blocks' sums are added in ascending order, kept in scratch
// between blocks, not in y: y is written once, and even a residual that lies in y would do. Blocks of k follow from k alone, so
// neither the number of threads nor the place in a tile changes an element's bits.
#pragma once

#include <type_traits>

#include "core/bf16.h"
#include "cpu/kernels.h"

namespace asdm::cpu {

constexpr int64_t kMaxExperts = 16;

// Weights that are mixed for each group (sample) of a product's rows: sum over e of rates[group, e] * expert e. A task mixes each panel
// of its k block right before its tiles read it; or all is mixed already, which pays where many tasks have rows of a group.
struct Mixture {
  const void* experts;    // packed matrices of the product's shape
  size_t distance;        // bytes from one to the next
  int64_t count;          // of experts, at most kMaxExperts
  const float* rates;     // [groups, count]; an expert of rate 0 is not read
  const float* bias;      // [groups, n], mixed already, or null
  const int32_t* alike;   // [groups]: a number that groups have in common exactly where their rates are the same
  const int32_t* single;  // [groups]: the expert that is taken as it is, its rate being 1 and all others 0; or -1
  bool whole = false;     // there is nothing to mix: single is never -1, rates are not read
};

// How a product's sums become results on their way to y: bias, time embedding, activation, residual and low parts, as LinearArgs and ConvArgs
// say; finish.inc.h carries it out.
template <class E>
struct Epilogue {
  const float* bias;  // [n] or null
  const E* rowBias;  // [groups, n] of row distance ldRowBias, or null
  int64_t ldRowBias;
  Activation activation;
  const E* residual;  // [rows, n] of row distance ldr, or null
  const E* residualLow;  // as residual, or null
  int64_t ldr;
  E* y;  // [rows, n] of row distance ldy
  E* yLow;  // as y, or null
  int64_t ldy;
};

// A product whose left rows come from a callback. Rows form groups (samples) of equal size; a tile never straddles two.
template <class E>
struct Product {
  int64_t groups, groupRows;
  WeightShape shape;
  const void* weight;
  // Writes x[row + i, first : first + count] to `to + i * stride` for i < rows; rows are of one group. `to` is of type Left.
  void (*copyRows)(const void* source, int64_t row, int rows, int64_t first, int64_t count, void* to, int64_t stride);
  // About where x[row, first] and what follows it lie: a hint for fetching ahead.
  const void* (*rowAddress)(const void* source, int64_t row, int64_t first);
  const void* source;
  Epilogue<E> out;
  const Mixture* mixture = nullptr;  // instead of weight and out.bias
  bool gated = false;  // as LinearArgs::gated; without rowBias, residual and mixture
};

// How a product is cut into tasks: `rows` blocks of tiles times `columns` blocks of panels, all of nearly equal size.
struct Grid {
  int64_t rows, columns;

  struct Place {
    int64_t row, column;
  };
  // Where a task lies. Tasks are numbered strip by strip, a strip of rows for each thread, so that threads find rows in their caches (see
  // core/open_tasks.h); in a strip column by column, so that neighbouring tasks share their panels, which one core's reading brings into the
  // shared cache for those that are at the same column of other strips.
  Place placeOf(int64_t task, int threads) const {
    const int64_t strips = rows < threads ? rows : threads, strip = ((task / columns + 1) * strips - 1) / rows;
    const int64_t first = strip * rows / strips, height = (strip + 1) * rows / strips - first, inside = task - first * columns;
    return {first + inside % height, inside / height};
  }
};

// The cheapest cut by a small cost model. tiles, panels: of the whole product; tileRows, panelVectors, lanes: of a tile;
// maxTiles, maxPanels: the most that one task may span; weightCost: cycles until a float of packed weights is at hand; rate: vectors of a
// tile's row that are multiplied per cycle.
Grid chooseGrid(int64_t tiles, int64_t panels, int64_t k, int tileRows, int panelVectors, int lanes, int64_t maxTiles, int64_t maxPanels,
                int threads, double weightCost = 0.3, double rate = 1.0) noexcept;

// The shape of a transposed matrix: for each tap, inputs and outputs change places.
inline WeightShape transposed(const WeightShape& shape) { return {shape.channels, shape.n, shape.area, shape.format}; }

}  // namespace asdm::cpu

// Gradients are those of floats; their contracts are in backend/training_arguments.h, or in gradient.inc.h for what convolutions are made of too.
#define ASDM_DECLARE_GEMM_GRADIENTS(set)                                                           \
  namespace asdm::cpu::set {                                                                       \
  void weightGradient(const Product<float>&, const float* dy, float* dw, KernelContext&) noexcept; \
  size_t weightGradientScratch(int threads) noexcept;                                              \
  void addColumnSums(const float* x, int64_t m, int64_t n, float* sums, KernelContext&) noexcept;  \
  size_t columnSumsScratch(int64_t m, int64_t n) noexcept;                                         \
  void packTransposed(const WeightShape&, const float* packed, float* to, ThreadPool&) noexcept;   \
  size_t transposedBytes(const WeightShape&) noexcept;                                             \
  }

#define ASDM_DECLARE_GEMM(set)                                    \
  namespace asdm::cpu::set {                                      \
  template <class E>                                              \
  size_t packedBytes(const WeightShape&) noexcept;                \
  template <class E>                                              \
  bool pack(const PackArgs&) noexcept;                            \
  bool copyNumbers(const NumbersArgs&) noexcept;                  \
  void addProduct(const AddProductArgs&) noexcept;                \
  void unpack(const UnpackArgs&) noexcept;                        \
  template <class E>                                              \
  void product(const Product<E>&, KernelContext&) noexcept;       \
  template <class E>                                              \
  size_t productScratch(const Product<E>&, int threads) noexcept; \
  }

ASDM_DECLARE_GEMM(portable)
ASDM_DECLARE_GEMM_GRADIENTS(portable)
#if defined(ASDM_X86)
ASDM_DECLARE_GEMM(avx2)
ASDM_DECLARE_GEMM_GRADIENTS(avx2)
ASDM_DECLARE_GEMM(avx512)
ASDM_DECLARE_GEMM_GRADIENTS(avx512)
ASDM_DECLARE_GEMM(avx512bf16)
#if defined(ASDM_HAS_AMX)
ASDM_DECLARE_GEMM(amx)
#endif
#endif
#if defined(ASDM_ARM64)
ASDM_DECLARE_GEMM(neon)
ASDM_DECLARE_GEMM_GRADIENTS(neon)
#endif
#undef ASDM_DECLARE_GEMM
#undef ASDM_DECLARE_GEMM_GRADIENTS

// One node of a graph. A unit gives one value, so unit ids are value ids too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/kernels.h"
#include "core/tensor.h"
#include "ops/op.h"

namespace asdm {

using UnitId = int32_t;
using WeightId = int32_t;
constexpr UnitId kNoUnit = -1;
constexpr WeightId kNoWeight = -1;

// How a kernel wants a weight: a product's right-hand side packed in the kernel set's format, plain floats, or rows of activations.
enum class WeightRole : uint8_t { Matrix, Vector, Table };

// One tensor of the checkpoint.
struct WeightPart {
  std::string name;            // diffusers key
  std::vector<int64_t> shape;  // PyTorch's
  int64_t rows = 0;            // output features (Matrix), numbers (Vector), table rows (Table)
};

// What one unit reads as a whole: usually one tensor; several stacked along the output features where a product is fused
// (queries, keys and values).
struct WeightRef {
  WeightRole role = WeightRole::Matrix;
  WeightShape shape;  // Matrix: n of all parts together. Vector: n numbers. Table: n rows of `channels` numbers.
  std::vector<WeightPart> parts;
  // Matrix: 0, or how many kernels of `shape` lie one after the other, as CondConvArgs wants them; one part has the rows of all.
  int64_t experts = 0;

  int64_t rowWidth() const { return role == WeightRole::Matrix ? shape.k() : role == WeightRole::Table ? shape.channels : 1; }
  int64_t count() const { return (experts > 0 ? experts : 1) * shape.n * rowWidth(); }
};

// Bytes of a Matrix as the table's kernels want it.
inline size_t packedBytes(const KernelTable& table, const WeightRef& weight) {
  const size_t bytes = table.packedBytes(weight.shape);
  return weight.experts > 0 ? static_cast<size_t>(weight.experts) * expertBytes(bytes) : bytes;
}

// How a Linear or 1x1 CondConv shapes its output: as its input, [N,H,W,C] -> [N,H*W,C], or [N,H*W,C] -> the map that `sizeOf` names.
enum class Layout : uint8_t { Same, ToSequence, ToMap };

// The attributes of all ops; each reads its own.
struct Attributes {
  // Conv2d, CondConv. The input may first be resized by nearest neighbour: doubled, or to the height and width of the value `sizeOf`.
  int64_t kernel = 1, stride = 1, padBefore = 0, padAfter = 0;
  bool doubleSize = false;
  // Only the shape of this value is looked at: it is no input, and does not keep its unit alive.
  UnitId sizeOf = kNoUnit;
  Layout layout = Layout::Same;  // Linear, CondConv with a 1x1 kernel
  int64_t experts = 1;           // CondConv
  Routing routing = Routing::Sigmoid;
  int64_t groups = 1;            // GroupNorm
  float eps = 0;                 // GroupNorm, LayerNorm
  bool silu = false;             // GroupNorm
  Activation activation = Activation::None;
  // Attention: first columns of q, k and v in their values.
  int64_t heads = 1, headDim = 1, qColumn = 0, kColumn = 0, vColumn = 0;
  bool causal = false;
  int64_t dim = 0;               // Timestep
  // Gradients: the unit it is one of, whose attributes and shapes count; it keeps nothing alive.
  UnitId of = kNoUnit;
  bool keys = false;             // AttentionGradient: the value is that of keys and values
  bool second = false;           // Slice: of the concatenation's second input, not the first
  Loss loss = Loss::SquaredError;  // Loss, LossGradient
  bool flip = false;
  float freqShift = 0;
};

struct Unit {
  std::string name;  // the diffusers prefix of its weights, or a name under the same prefix
  Op op = Op::Input;
  std::vector<UnitId> inputs;
  std::vector<WeightId> weights;
  Attributes attributes;
  DType dtype = DType::F32;  // of an Input: what the caller gives, F32 or I32
};

}  // namespace asdm

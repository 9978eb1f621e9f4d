#include "weights/store.h"

#include <algorithm>
#include <cstring>

#include "core/bf16.h"
#include "runtime/memory_limit.h"

namespace asdm {

Status WeightStore::allocate(const Graph& graph, const KernelTable& table) {
  table_ = &table;
  blocks_.clear();
  std::vector<size_t> sizes;
  double total = 0;
  for (const WeightRef& w : graph.weights) {
    const int64_t width = dtypeBytes(w.role == WeightRole::Table ? table.activations : DType::F32);
    sizes.push_back(w.role == WeightRole::Matrix ? packedBytes(table, w) : static_cast<size_t>(w.count() * width));
    total += static_cast<double>(sizes.back());
  }
  ASDM_TRY(checkMemory(total, "the weights"));
  blocks_.resize(sizes.size());
  for (size_t i = 0; i < sizes.size(); i++) {
    if (blocks_[i].allocate(sizes[i])) continue;
    blocks_.clear();
    return outOfMemory(total, "the weights");
  }
  return Status::good();
}

void WeightStore::write(const Graph& graph, WeightId id, size_t part, int64_t first, int64_t rows, const float* values) {
  const WeightRef& w = graph.weights[static_cast<size_t>(id)];
  for (size_t p = 0; p < part; p++) first += w.parts[p].rows;
  std::byte* to = blocks_[static_cast<size_t>(id)].data();
  if (w.role == WeightRole::Matrix) {
    // Rows of experts follow each other in the tensor; each expert is packed by itself.
    while (rows > 0) {
      const int64_t expert = first / w.shape.n, row = first - expert * w.shape.n;
      const int64_t count = std::min(rows, w.shape.n - row);
      table_->pack(PackArgs{w.shape, values, row, count, to + static_cast<size_t>(expert) * expertBytes(table_->packedBytes(w.shape))});
      first += count;
      rows -= count;
      values += count * w.rowWidth();
    }
  } else if (w.role == WeightRole::Table && table_->activations == DType::BF16) {
    Bf16* const numbers = reinterpret_cast<Bf16*>(to) + first * w.rowWidth();
    for (int64_t i = 0; i < rows * w.rowWidth(); i++) numbers[i] = toBf16(values[i]);
  } else {
    const size_t rowBytes = static_cast<size_t>(w.rowWidth()) * sizeof(float);
    std::memcpy(to + static_cast<size_t>(first) * rowBytes, values, static_cast<size_t>(rows) * rowBytes);
  }
}

uint64_t WeightStore::bytes() const {
  uint64_t total = 0;
  for (const Block& block : blocks_) total += block.bytes();
  return total;
}

}  // namespace asdm

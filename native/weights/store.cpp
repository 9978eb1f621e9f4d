#include "weights/store.h"

#include <algorithm>

#include "runtime/memory_limit.h"

namespace asdm {

Status WeightStore::allocate(const Graph& graph, const KernelTable& table) {
  release();
  table_ = &table;
#if defined(ASDM_ASAN)
  constexpr size_t kGap = kAlignment;
#else
  constexpr size_t kGap = 0;
#endif
  std::vector<size_t> ends;
  size_t total = 0;
  for (const WeightRef& w : graph.weights) {
    const int64_t width = dtypeBytes(w.role == WeightRole::Table ? table.activations : DType::F32);
    const size_t bytes = w.role == WeightRole::Matrix ? packedBytes(table, w) : static_cast<size_t>(w.count() * width);
    ASDM_TRY(checkMemory(static_cast<double>(total) + static_cast<double>(bytes), "the weights"));  // so the sum does not overflow
    places_.push_back(total);
    ends.push_back(total + bytes);
    total = alignUp(total + bytes) + kGap;
  }
  if (!block_.allocate(total)) {
    release();
    return outOfMemory(static_cast<double>(total), "the weights");
  }
  for (size_t i = 0; i < ends.size(); i++) forbid(block_.data() + ends[i], (i + 1 < ends.size() ? places_[i + 1] : total) - ends[i]);
  return Status::good();
}

void WeightStore::release() {
  places_.clear();
  block_.release();
}

bool WeightStore::write(const Graph& graph, WeightId id, size_t part, int64_t first, int64_t rows, DType stored, const void* values) {
  const WeightRef& w = graph.weights[static_cast<size_t>(id)];
  for (size_t p = 0; p < part; p++) first += w.parts[p].rows;
  std::byte* const to = block_.data() + places_[static_cast<size_t>(id)];
  if (w.role != WeightRole::Matrix) {
    const DType kept = w.role == WeightRole::Table ? table_->activations : DType::F32;
    const int64_t count = rows * w.rowWidth();
    return table_->copyNumbers({stored, values, count, kept, to + first * w.rowWidth() * dtypeBytes(kept)});
  }
  // Rows of experts follow each other in the tensor; each expert is packed by itself.
  const std::byte* from = static_cast<const std::byte*>(values);
  bool finite = true;
  while (rows > 0) {
    const int64_t expert = first / w.shape.n, row = first - expert * w.shape.n;
    const int64_t count = std::min(rows, w.shape.n - row);
    std::byte* const packed = to + static_cast<size_t>(expert) * expertBytes(table_->packedBytes(w.shape));
    finite = table_->pack(PackArgs{w.shape, from, row, count, packed, stored}) && finite;
    first += count;
    rows -= count;
    from += count * w.rowWidth() * dtypeBytes(stored);
  }
  return finite;
}

}  // namespace asdm

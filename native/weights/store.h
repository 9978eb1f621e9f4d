// The weights of a graph as kernels want them, one after the other in one block, written once.
#pragma once

#include <vector>

#include "core/memory.h"
#include "graph/graph.h"

namespace asdm {

class WeightStore {
 public:
  // Makes room for every weight; OutOfMemory, and an empty store, when there is none.
  Status allocate(const Graph& graph, const KernelTable& table);
  void release();

  // Writes rows of one part, in PyTorch's order, as they are stored. Threads may write different rows at the same time. False where
  // a number is infinite or NaN.
  bool write(const Graph& graph, WeightId id, size_t part, int64_t first, int64_t rows, DType stored, const void* values);

  const void* data(WeightId id) const { return block_.data() + places_[static_cast<size_t>(id)]; }
  uint64_t bytes() const { return block_.bytes(); }

 private:
  const KernelTable* table_ = nullptr;
  std::vector<size_t> places_;  // of the weights, in bytes
  Block block_;
};

}  // namespace asdm

// The weights of a graph as kernels want them, one after the other in one block, written once. A graph that has no others may use
// the same block; copies of a store share it, and it is freed with the last.
#pragma once

#include <memory>
#include <vector>

#include "core/memory.h"
#include "graph/graph.h"

namespace asdm {

class WeightStore {
 public:
  // Makes room for every weight; OutOfMemory, and an empty store, when there is none.
  Status allocate(const Graph& graph, const KernelTable& table);
  // Takes weights from another graph's store, whose block it then shares: each of this graph's must be there, of the same tensors, and packed for
  // the same kernels. InvalidArgument, and an empty store, where they are not.
  Status share(const Graph& graph, const KernelTable& table, const WeightStore& from);
  void release();

  // Writes rows of one part, in PyTorch's order, as they are stored. Threads may write different rows at the same time. False where
  // a number is infinite or NaN.
  bool write(const Graph& graph, WeightId id, size_t part, int64_t first, int64_t rows, DType stored, const void* values);

  const void* data(WeightId id) const { return block_->data() + places_[static_cast<size_t>(id)]; }
  uint64_t bytes() const { return block_ != nullptr ? block_->bytes() : 0; }

 private:
  const KernelTable* table_ = nullptr;
  std::vector<WeightRef> weights_;  // the graph's
  std::vector<size_t> places_;      // of the weights, in bytes
  std::shared_ptr<Block> block_;
};

}  // namespace asdm

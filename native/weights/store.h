// The weights of a graph as kernels want them, one block each, written once.
#pragma once

#include <vector>

#include "core/memory.h"
#include "graph/graph.h"

namespace asdm {

class WeightStore {
 public:
  // Makes room for every weight; OutOfMemory, and an empty store, when there is none.
  Status allocate(const Graph& graph, const KernelTable& table);
  void release() { blocks_.clear(); }

  // Writes rows of one part, in PyTorch's order. Threads may write different rows at the same time.
  void write(const Graph& graph, WeightId id, size_t part, int64_t first, int64_t rows, const float* values);

  const void* data(WeightId id) const { return blocks_[static_cast<size_t>(id)].data(); }
  uint64_t bytes() const;

 private:
  const KernelTable* table_ = nullptr;
  std::vector<Block> blocks_;
};

}  // namespace asdm

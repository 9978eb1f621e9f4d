// The weights of a graph as kernels want them, one after the other in one block, written once. A graph that has no others may use
// the same block; copies of a store share it, and it is freed with the last.
#pragma once

#include <memory>
#include <vector>

#include "core/mapping.h"
#include "core/memory.h"
#include "graph/graph.h"

namespace asdm {

class WeightStore {
 public:
  // Finds a place for every weight, without memory yet; OutOfMemory when the machine has too little.
  Status arrange(const Graph& graph, const KernelTable& table);
  // Makes room; OutOfMemory, and an empty store, when there is none. cleared: what is between the weights is zero, and may be read.
  Status allocate(bool cleared);
  Status allocate(const Graph& graph, const KernelTable& table);
  // Takes weights from another graph's store, whose block it then shares: each of this graph's must be there, of the same tensors, and packed for
  // the same kernels. InvalidArgument, and an empty store, where they are not.
  Status share(const Graph& graph, const KernelTable& table, const WeightStore& from);
  // Takes its weights from a file instead, from this offset on: as another store of the same arrangement had them.
  void adopt(Mapping mapping, size_t offset);
  void release();

  // Writes rows of one part, in PyTorch's order, as they are stored. Threads may write different rows at the same time. False where
  // a number is infinite or NaN.
  bool write(const Graph& graph, WeightId id, size_t part, int64_t first, int64_t rows, DType stored, const void* values);
  // The same to memory elsewhere that is laid out as this weight is.
  bool writeTo(std::byte* to, const Graph& graph, WeightId id, size_t part, int64_t first, int64_t rows, DType stored, const void* values) const;
  // A weight that training changes. Of a store that allocated its memory itself and shares it with none.
  std::byte* writable(WeightId id) const { return memory_->block.data() + place(id); }

  const void* data(WeightId id) const { return base_ + place(id); }
  const std::byte* base() const { return base_; }
  uint64_t place(WeightId id) const { return places_[static_cast<size_t>(id)]; }
  uint64_t bytes() const { return bytes_; }

 private:
  const KernelTable* table_ = nullptr;
  struct Memory {  // one or the other
    Block block;
    Mapping mapping;
  };
  std::vector<WeightRef> weights_;     // the graph's
  std::vector<size_t> places_, ends_;  // of the weights, in bytes
  size_t bytes_ = 0;
  const std::byte* base_ = nullptr;    // where the first lies
  std::shared_ptr<Memory> memory_;
};

}  // namespace asdm

// The weights of a graph as a device's kernels want them, one after the other in one block of its memory, written once. A graph that has
// no others may use the same block; copies of a store share it, and it is freed with the last.
#pragma once

#include <memory>
#include <vector>

#include "backend/device.h"
#include "graph/graph.h"

namespace asdm {

class WeightStore {
 public:
  explicit WeightStore(std::shared_ptr<Device> device) : device_(std::move(device)) {}

  // Finds a place for every weight, without memory yet; OutOfMemory when the device has too little.
  Status arrange(const Graph& graph, const KernelTable& table);
  // What is between the weights: not to be touched, zero and readable, or filled by whoever fills the room as a whole.
  enum class Gaps { Forbidden, Cleared, Filled };
  // Makes room; OutOfMemory, and an empty store, when there is none.
  Status allocate(Queue& queue, Gaps gaps);
  // Takes weights from another graph's store, whose block it then shares: each of this graph's must be there, of the same tensors, and packed for
  // the same kernels of the same device. InvalidArgument, and an empty store, where they are not.
  Status share(const Graph& graph, const KernelTable& table, const WeightStore& from);
  // The room as a whole, to be filled with the bytes of another store of the same arrangement: its address on the device, and a way to it for
  // bytes of the host's. Fails as Queue::finish does.
  std::byte* room() { return memory_->data(); }
  Status fill(Queue& queue, uint64_t offset, uint64_t count, const void* from);
  void release();

  // Where weights go as they are read: rows of one part, in PyTorch's order, as they are stored, in host memory that is free again afterwards.
  // Threads may write different rows at the same time. False where a number is infinite or NaN.
  bool write(Queue& queue, const Graph& graph, WeightId id, size_t part, int64_t first, int64_t rows, DType stored, const void* values);
  // The same to memory elsewhere on the device that is laid out as this weight is.
  bool writeTo(Queue& queue, std::byte* to, const Graph& graph, WeightId id, size_t part, int64_t first, int64_t rows, DType stored,
               const void* values) const;
  // A weight that training changes. Of a store that allocated its memory itself and shares it with none.
  std::byte* writable(WeightId id) const { return memory_->data() + place(id); }
  // Bytes of the room, in host memory.
  Status read(Queue& queue, uint64_t offset, uint64_t count, void* to) const;

  // Addresses on the device, of the graph's weights in order.
  std::vector<const void*> addresses() const;
  const std::shared_ptr<Device>& device() const { return device_; }
  uint64_t place(WeightId id) const { return places_[static_cast<size_t>(id)]; }
  uint64_t bytesOf(WeightId id) const { return ends_[static_cast<size_t>(id)] - place(id); }
  uint64_t bytes() const { return bytes_; }
  // Was the memory allocated by this store, not taken from another graph's?
  bool owned() const { return ends_.size() == places_.size(); }
  // Do other stores than copies of this one, `copies` of them, share the memory?
  bool sharedBeyond(long copies) const { return memory_.use_count() > copies + 1; }

 private:
  std::shared_ptr<Device> device_;
  const KernelTable* table_ = nullptr;
  std::vector<WeightRef> weights_;  // the graph's
  std::vector<uint64_t> places_, ends_;  // of the weights, in bytes
  uint64_t bytes_ = 0;
  std::shared_ptr<Buffer> memory_;
};

}  // namespace asdm

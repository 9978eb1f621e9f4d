#include "weights/store.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "core/memory.h"

namespace asdm {

Status WeightStore::arrange(const Graph& graph, const KernelTable& table) {
  release();
  table_ = &table;
  const uint64_t alignment = table.traits->alignment;
#if defined(ASDM_ASAN)
  const uint64_t gap = alignment;
#else
  const uint64_t gap = 0;
#endif
  for (const WeightRef& w : graph.weights) {
    const int64_t width = dtypeBytes(w.role == WeightRole::Table ? table.activations : DType::F32);
    const uint64_t bytes = w.role == WeightRole::Matrix ? packedBytes(table, w) : static_cast<uint64_t>(w.count() * width);
    ASDM_TRY(checkRoom(*device_, static_cast<double>(bytes_) + static_cast<double>(bytes), "the weights"));  // so the sum does not overflow
    places_.push_back(bytes_);
    ends_.push_back(bytes_ + bytes);
    bytes_ = alignUp(bytes_ + bytes, alignment) + gap;
  }
  weights_ = graph.weights;
  return Status::good();
}

namespace {

bool same(const WeightRef& a, const WeightRef& b) {
  const WeightShape &s = a.shape, &t = b.shape;
  if (a.role != b.role || a.experts != b.experts || s.n != t.n || s.channels != t.channels || s.area != t.area || s.format != t.format)
    return false;
  return std::equal(a.parts.begin(), a.parts.end(), b.parts.begin(), b.parts.end(),
                    [](const WeightPart& p, const WeightPart& q) { return p.name == q.name && p.shape == q.shape && p.rows == q.rows; });
}

}  // namespace

Status WeightStore::share(const Graph& graph, const KernelTable& table, const WeightStore& from) {
  release();
  std::map<std::string, size_t> known;  // by the first tensor
  for (size_t i = 0; i < from.weights_.size(); i++) known.emplace(from.weights_[i].parts[0].name, i);
  std::vector<uint64_t> places;
  for (const WeightRef& w : graph.weights) {
    const auto found = known.find(w.parts[0].name);
    if (from.table_ != &table || from.device_ != device_ || found == known.end() || !same(w, from.weights_[found->second]))
      return {Code::InvalidArgument,
              "Expected a model with the same weight " + w.parts[0].name + " in the same number format and kernel set, but it has none"};
    places.push_back(from.places_[found->second]);
  }
  table_ = &table;
  weights_ = graph.weights;
  places_ = std::move(places);
  bytes_ = from.bytes_;
  memory_ = from.memory_;
  return Status::good();
}

Status WeightStore::allocate(Queue& queue, Gaps gaps) {
  memory_ = std::make_shared<Buffer>();
  if (!memory_->allocate(device_, bytes_)) {
    const double wanted = static_cast<double>(bytes_);
    release();
    return outOfMemory(wanted, "the weights");
  }
  std::byte* const data = memory_->data();
  if (gaps == Gaps::Cleared && bytes_ > 0) {
    queue.fill(data, 0, bytes_);
    return statusOf(queue.finish());
  }
  for (size_t i = 0; gaps == Gaps::Forbidden && i < ends_.size(); i++)
    device_->forbid(data + ends_[i], (i + 1 < ends_.size() ? places_[i + 1] : bytes_) - ends_[i]);
  return Status::good();
}

Status WeightStore::fill(Queue& queue, uint64_t offset, uint64_t count, const void* from) {
  queue.upload(memory_->data() + offset, from, count);
  return statusOf(queue.finish());
}

void WeightStore::release() {
  weights_.clear();
  places_.clear();
  ends_.clear();
  bytes_ = 0;
  memory_.reset();
}

bool WeightStore::write(Queue& queue, const Graph& graph, WeightId id, size_t part, int64_t first, int64_t rows, DType stored,
                        const void* values) {
  return writeTo(queue, writable(id), graph, id, part, first, rows, stored, values);
}

bool WeightStore::writeTo(Queue& queue, std::byte* to, const Graph& graph, WeightId id, size_t part, int64_t first, int64_t rows,
                          DType stored, const void* values) const {
  const WeightRef& w = graph.weights[static_cast<size_t>(id)];
  for (size_t p = 0; p < part; p++) first += w.parts[p].rows;
  if (w.role != WeightRole::Matrix) {
    const DType kept = w.role == WeightRole::Table ? table_->activations : DType::F32;
    const int64_t count = rows * w.rowWidth();
    return table_->copyNumbers({stored, values, count, kept, to + first * w.rowWidth() * dtypeBytes(kept)}, queue);
  }
  // Rows of experts follow each other in the tensor; each expert is packed by itself.
  const std::byte* from = static_cast<const std::byte*>(values);
  bool finite = true;
  while (rows > 0) {
    const int64_t expert = first / w.shape.n, row = first - expert * w.shape.n;
    const int64_t count = std::min(rows, w.shape.n - row);
    std::byte* const packed = to + static_cast<size_t>(expert) * expertBytes(table_->packedBytes(w.shape));
    finite = table_->pack(PackArgs{w.shape, from, row, count, packed, stored}, queue) && finite;
    first += count;
    rows -= count;
    from += count * w.rowWidth() * dtypeBytes(stored);
  }
  return finite;
}

Status WeightStore::read(Queue& queue, uint64_t offset, uint64_t count, void* to) const {
  queue.download(to, memory_->data() + offset, count);
  return statusOf(queue.finish());
}

std::vector<const void*> WeightStore::addresses() const {
  std::vector<const void*> all;
  for (const uint64_t place : places_) all.push_back(memory_->data() + place);
  return all;
}

}  // namespace asdm

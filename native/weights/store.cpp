#include "weights/store.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <utility>

#include "runtime/memory_limit.h"

namespace asdm {

Status WeightStore::arrange(const Graph& graph, const KernelTable& table) {
  release();
  table_ = &table;
#if defined(ASDM_ASAN)
  constexpr size_t kGap = kAlignment;
#else
  constexpr size_t kGap = 0;
#endif
  for (const WeightRef& w : graph.weights) {
    const int64_t width = dtypeBytes(w.role == WeightRole::Table ? table.activations : DType::F32);
    const size_t bytes = w.role == WeightRole::Matrix ? packedBytes(table, w) : static_cast<size_t>(w.count() * width);
    ASDM_TRY(checkMemory(static_cast<double>(bytes_) + static_cast<double>(bytes), "the weights"));  // so the sum does not overflow
    places_.push_back(bytes_);
    ends_.push_back(bytes_ + bytes);
    bytes_ = alignUp(bytes_ + bytes) + kGap;
  }
  weights_ = graph.weights;
  return Status::good();
}

namespace {

bool same(const WeightRef& a, const WeightRef& b) {
  const WeightShape &s = a.shape, &t = b.shape;
  if (a.role != b.role || a.experts != b.experts || s.n != t.n || s.channels != t.channels || s.area != t.area || s.format != t.format) return false;
  return std::equal(a.parts.begin(), a.parts.end(), b.parts.begin(), b.parts.end(), [](const WeightPart& p, const WeightPart& q) {
    return p.name == q.name && p.shape == q.shape && p.rows == q.rows;
  });
}

}  // namespace

Status WeightStore::share(const Graph& graph, const KernelTable& table, const WeightStore& from) {
  release();
  std::map<std::string, size_t> known;  // by the first tensor
  for (size_t i = 0; i < from.weights_.size(); i++) known.emplace(from.weights_[i].parts[0].name, i);
  std::vector<size_t> places;
  for (const WeightRef& w : graph.weights) {
    const auto found = known.find(w.parts[0].name);
    if (from.table_ != &table || found == known.end() || !same(w, from.weights_[found->second]))
      return {Code::InvalidArgument, "Expected a model with the same weight " + w.parts[0].name + " in the same number format and kernel set, but it has none"};
    places.push_back(from.places_[found->second]);
  }
  table_ = &table;
  weights_ = graph.weights;
  places_ = std::move(places);
  bytes_ = from.bytes_;
  base_ = from.base_;
  memory_ = from.memory_;
  return Status::good();
}

Status WeightStore::allocate(bool cleared) {
  memory_ = std::make_shared<Memory>();
  if (!memory_->block.allocate(bytes_)) {
    const double wanted = static_cast<double>(bytes_);
    release();
    return outOfMemory(wanted, "the weights");
  }
  std::byte* const data = memory_->block.data();
  base_ = data;
  if (cleared && bytes_ > 0) std::memset(static_cast<void*>(data), 0, bytes_);
  for (size_t i = 0; !cleared && i < ends_.size(); i++)
    forbid(data + ends_[i], (i + 1 < ends_.size() ? places_[i + 1] : bytes_) - ends_[i]);
  return Status::good();
}

Status WeightStore::allocate(const Graph& graph, const KernelTable& table) {
  ASDM_TRY(arrange(graph, table));
  return allocate(false);
}

void WeightStore::adopt(Mapping mapping, size_t offset) {
  memory_ = std::make_shared<Memory>();
  memory_->mapping = std::move(mapping);
  base_ = memory_->mapping.data() + offset;
}

void WeightStore::release() {
  weights_.clear();
  places_.clear();
  ends_.clear();
  bytes_ = 0;
  base_ = nullptr;
  memory_.reset();
}

bool WeightStore::write(const Graph& graph, WeightId id, size_t part, int64_t first, int64_t rows, DType stored, const void* values) {
  return writeTo(writable(id), graph, id, part, first, rows, stored, values);
}

bool WeightStore::writeTo(std::byte* to, const Graph& graph, WeightId id, size_t part, int64_t first, int64_t rows, DType stored, const void* values) const {
  const WeightRef& w = graph.weights[static_cast<size_t>(id)];
  for (size_t p = 0; p < part; p++) first += w.parts[p].rows;
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

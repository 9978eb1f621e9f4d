#include "weights/load.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "weights/file.h"
#include "weights/packed_cache.h"

namespace asdm {

namespace {

bool sameView(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  for (size_t i = 0; i < std::max(a.size(), b.size()); i++)
    if ((i < a.size() ? a[i] : 1) != (i < b.size() ? b[i] : 1)) return false;
  return true;
}

// The first names of a list, and how many more there are.
std::string firstFew(const std::vector<std::string>& names) {
  constexpr size_t kFew = 4;
  std::string out;
  for (size_t i = 0; i < std::min(names.size(), kFew); i++) out += (i ? ", " : "") + names[i].substr(0, 160);
  return names.size() > kFew ? out + " and " + std::to_string(names.size() - kFew) + " more" : out;
}

// A wanted tensor and where it comes from.
struct Item {
  WeightId weight;
  size_t part;
  const WeightPart* wanted;
  const WeightSource* source = nullptr;
  size_t file = 0;
  std::vector<std::pair<size_t, size_t>> productFiles{};  // of each product, up's and down's
  bool finite = true;
};

// Rows of one tensor, read and packed as one task.
struct Piece {
  size_t item;
  int64_t first, rows;
};

class Loader {
 public:
  Loader(const Graph& graph, const KernelTable& table, ThreadPool& pool, Queue& queue, const std::atomic<bool>& cancel, WeightStore& store)
      : graph_(graph), table_(table), pool_(pool), queue_(queue), cancel_(cancel), store_(store) {}

  // Some weights of a store that is full: kept is what they were.
  Status change(const std::vector<WeightSource>& sources, LoadResult* result) {
    ASDM_TRY(match(sources, true));
    ASDM_TRY(openFiles());
    std::vector<WeightId> touched;
    for (const Item& item : items_)
      if (touched.empty() || touched.back() != item.weight) touched.push_back(item.weight);
    uint64_t bytes = 0;
    for (const WeightId id : touched) bytes += store_.bytesOf(id);
    Buffer kept;
    if (!kept.allocateHost(store_.device(), bytes)) return outOfMemory(static_cast<double>(bytes), "the weights as they were");
    uint64_t at = 0;
    for (const WeightId id : touched) {
      ASDM_TRY(store_.read(queue_, store_.place(id), store_.bytesOf(id), kept.data() + at));
      at += store_.bytesOf(id);
    }
    Status status = readWeights(nullptr, result);
    if (status.ok() && cancel_.load(std::memory_order_relaxed)) status = {Code::Aborted, "The operation was aborted"};
    at = 0;
    for (const WeightId id : touched) {
      if (!status.ok()) ASDM_TRY(store_.fill(queue_, store_.place(id), store_.bytesOf(id), kept.data() + at));
      at += store_.bytesOf(id);
    }
    return status;
  }

  Status run(const std::vector<WeightSource>& sources, const std::string& cachePath, const LoadProgress& progress, LoadResult* result) {
    ASDM_TRY(match(sources, false));
    ASDM_TRY(openFiles());
    ASDM_TRY(store_.arrange(graph_, table_));
    result->weightBytes = store_.bytes();
    if (cachePath.empty()) {
      ASDM_TRY(store_.allocate(queue_, WeightStore::Gaps::Forbidden));
      return readWeights(progress, result);
    }
    // What the files are is found out before they are read: if they change meanwhile, the next load sees that.
    std::vector<PackedCache::Origin> origins;
    for (const Item& item : items_) origins.push_back({item.source, item.file});
    PackedCache cache;
    bool described = false;
    ASDM_TRY(cache.describe(cachePath, graph_, table_, store_, queue_, origins, files_, &described));
    if (!described) {
      ASDM_TRY(store_.allocate(queue_, WeightStore::Gaps::Forbidden));
      result->cache = CacheOutcome::Unwritten;
      result->cacheNote = "the weight files cannot be read";
      return readWeights(progress, result);
    }
    bool used = false, written = false;
    ASDM_TRY(cache.read(pool_, queue_, cancel_, &store_, &used));
    if (used) {
      result->cache = CacheOutcome::Used;
      if (progress) progress(total_, total_);
      return Status::good();
    }
    const std::string rejected = cache.why();
    ASDM_TRY(store_.allocate(queue_, WeightStore::Gaps::Cleared));
    ASDM_TRY(readWeights(progress, result));
    if (result->nonFinite.empty()) ASDM_TRY(cache.write(store_, queue_, cancel_, &written));
    result->cache = !written ? CacheOutcome::Unwritten : rejected.empty() ? CacheOutcome::Written : CacheOutcome::Replaced;
    result->cacheNote = written ? rejected : result->nonFinite.empty() ? cache.why() : "some weights are not finite";
    return Status::good();
  }

 private:
  Status readWeights(const LoadProgress& progress, LoadResult* result) {
    cutPieces();
    ASDM_TRY(readAll(progress));
    for (const Item& item : items_)
      if (!item.finite) result->nonFinite.push_back(item.wanted->name);
    return Status::good();
  }

  // some: of a graph's weights, those that have a source; else each has to.
  Status match(const std::vector<WeightSource>& sources, bool some) {
    std::unordered_map<std::string, size_t> index;
    for (size_t w = 0; w < graph_.weights.size(); w++)
      for (size_t p = 0; p < graph_.weights[w].parts.size(); p++) {
        index[graph_.weights[w].parts[p].name] = items_.size();
        items_.push_back({static_cast<WeightId>(w), p, &graph_.weights[w].parts[p]});
      }
    std::vector<std::string> extra, twice, missing, misshaped;
    for (const WeightSource& source : sources) {
      const auto found = index.find(source.name);
      if (found == index.end()) {
        extra.push_back(source.name);
      } else if (items_[found->second].source != nullptr) {
        twice.push_back(source.name);
      } else {
        items_[found->second].source = &source;
      }
    }
    if (some) items_.erase(std::remove_if(items_.begin(), items_.end(), [](const Item& i) { return i.source == nullptr; }), items_.end());
    for (const Item& item : items_) {
      if (item.source == nullptr) {
        missing.push_back(item.wanted->name);
      } else if (!sameView(item.source->shape, item.wanted->shape)) {
        misshaped.push_back(item.wanted->name + " (expected " + shapeText(item.wanted->shape) + ", received " +
                            shapeText(item.source->shape) + ")");
      }
    }
    const std::string all = "Expected " + std::to_string(items_.size()) + " weights, each once, but ";
    if (!missing.empty()) return {Code::TensorMissing, all + "received none for " + firstFew(missing)};
    if (!extra.empty()) return {Code::TensorExtra, all + "received unknown ones: " + firstFew(extra)};
    if (!twice.empty()) return {Code::TensorExtra, all + "received twice: " + firstFew(twice)};
    if (!misshaped.empty()) return {Code::TensorShape, all + "these have other shapes: " + firstFew(misshaped)};
    for (const Item& item : items_) ASDM_TRY(checkRange(item));
    return Status::good();
  }

  Status checkRange(const Item& item) {
    const WeightSource& s = *item.source;
    // The wanted shape's count is small (checkConfig), so this product does not overflow.
    const uint64_t wanted = static_cast<uint64_t>(item.wanted->rows * rowWidth(item) * storedBytes(s.dtype));
    for (const WeightProduct& product : s.products) ASDM_TRY(checkProduct(item, product));
    if (s.begin <= s.end && s.end - s.begin == wanted) return Status::good();
    return {Code::TensorShape, "Expected weight " + s.name + " of shape " + shapeText(item.wanted->shape) + " to take " +
                                   std::to_string(wanted) + " bytes but received bytes " + std::to_string(s.begin) + " to " +
                                   std::to_string(s.end) + " of \"" + s.file + "\""};
  }

  Status checkProduct(const Item& item, const WeightProduct& product) {
    constexpr int64_t kMostRank = int64_t{1} << 20;
    const auto fits = [&](const StoredNumbers& numbers, int64_t width) {
      const double wanted =
          static_cast<double>(width) * static_cast<double>(product.rank) * static_cast<double>(storedBytes(numbers.dtype));
      return numbers.begin <= numbers.end && static_cast<double>(numbers.end - numbers.begin) == wanted;
    };
    if (product.rank > 0 && product.rank <= kMostRank && fits(product.up, item.wanted->rows) && fits(product.down, rowWidth(item)))
      return Status::good();
    return {Code::TensorShape, "Expected matrices of rank " + std::to_string(product.rank) + " for weight " + item.wanted->name +
                                   " but their bytes in \"" + product.up.file + "\" are others"};
  }

  int64_t rowWidth(const Item& item) const { return graph_.weights[static_cast<size_t>(item.weight)].rowWidth(); }

  Status openFiles() {
    std::unordered_map<std::string, size_t> index;
    const auto open = [&](const std::string& path, uint64_t end, const std::string& name, size_t* number) -> Status {
      const auto added = index.emplace(path, files_.size());
      if (added.second) {
        File file;
        ASDM_TRY(file.open(path));
        files_.push_back(std::move(file));
      }
      *number = added.first->second;
      if (end > files_[*number].bytes())
        return {Code::FileRead, "Expected \"" + path + "\" to hold weight " + name + " up to byte " + std::to_string(end) +
                                    " but it ends at " + std::to_string(files_[*number].bytes())};
      return Status::good();
    };
    for (Item& item : items_) {
      const WeightSource& s = *item.source;
      ASDM_TRY(open(s.file, s.end, s.name, &item.file));
      for (const WeightProduct& product : s.products) {
        item.productFiles.emplace_back();
        ASDM_TRY(open(product.up.file, product.up.end, s.name, &item.productFiles.back().first));
        ASDM_TRY(open(product.down.file, product.down.end, s.name, &item.productFiles.back().second));
      }
      total_ += s.end - s.begin;
    }
    return Status::good();
  }

  void cutPieces() {
    // So much that a read is worth its call, and so little that what was read is still in the core's cache when it is packed. Whole
    // panels where those are no more than some megabytes.
    constexpr int64_t kTarget = 1 << 19, kMost = 1 << 22;
    const int64_t panelRows = table_.traits->panelRows;
    for (size_t i = 0; i < items_.size(); i++) {
      const int64_t rowBytes = rowWidth(items_[i]) * storedBytes(items_[i].source->dtype), rows = items_[i].wanted->rows;
      int64_t each = std::max<int64_t>(1, kTarget / rowBytes);
      if (each >= panelRows || panelRows * rowBytes <= kMost) each = std::max<int64_t>(1, each / panelRows) * panelRows;
      for (int64_t first = 0; first < rows; first += each) pieces_.push_back({i, first, std::min(each, rows - first)});
      stagingBytes_ = std::max(stagingBytes_, stagingBytes(items_[i].source->dtype, std::min(each, rows) * rowWidth(items_[i])));
      if (!items_[i].source->products.empty())
        stagingBytes_ = std::max(stagingBytes_, Merging(items_[i], std::min(each, rows), rowWidth(items_[i])).bytes);
    }
  }

  Status readAll(const LoadProgress& progress) {
    std::vector<Buffer> staging(static_cast<size_t>(pool_.threads()));
    for (Buffer& each : staging)
      if (!each.allocateHost(store_.device(), static_cast<uint64_t>(stagingBytes_)))
        return {Code::OutOfMemory, "Expected memory to read weights through, but the system gave none"};
    failed_ = pieces_.size();
    finite_.assign(pieces_.size(), 1);
    uint64_t done = 0;
    const size_t perRound = static_cast<size_t>(pool_.threads()) * 32;
    for (size_t begin = 0; begin < pieces_.size(); begin += perRound) {
      if (cancel_.load(std::memory_order_relaxed)) return {Code::Aborted, "The operation was aborted"};
      const size_t end = std::min(begin + perRound, pieces_.size());
      pool_.run(static_cast<int64_t>(end - begin),
                [&](int64_t task, int worker) { readPiece(begin + static_cast<size_t>(task), staging[static_cast<size_t>(worker)]); });
      if (failed_ < pieces_.size()) return readFailure(items_[pieces_[failed_].item]);
      for (size_t i = begin; i < end; i++) {
        Item& item = items_[pieces_[i].item];
        done += static_cast<uint64_t>(pieces_[i].rows * rowWidth(item) * storedBytes(item.source->dtype));
        if (finite_[i] == 0) item.finite = false;
      }
      if (progress) progress(done, total_);
    }
    return Status::good();
  }

  void readPiece(size_t index, const Buffer& staging) {
    if (cancel_.load(std::memory_order_relaxed)) return;
    const Piece& piece = pieces_[index];
    const Item& item = items_[piece.item];
    const WeightSource& s = *item.source;
    const int64_t rowBytes = rowWidth(item) * storedBytes(s.dtype);
    const uint64_t offset = s.begin + static_cast<uint64_t>(piece.first * rowBytes);
    const int64_t numbers = piece.rows * rowWidth(item);
    if (!s.products.empty()) {
      const int merged = mergePiece(piece, offset, staging.data());
      if (merged < 0) return failed(index);
      finite_[index] = merged != 0 ? 1 : 0;
      return;
    }
    std::byte* const stored = storedPlace(s.dtype, numbers, staging.data());
    if (!files_[item.file].read(offset, stored, static_cast<size_t>(piece.rows * rowBytes))) {
      return failed(index);
    }
    if (isWidened(s.dtype)) widen(s.dtype, stored, numbers, reinterpret_cast<float*>(staging.data()));
    finite_[index] =
        store_.write(queue_, graph_, item.weight, item.part, piece.first, piece.rows, handedType(s.dtype), staging.data()) ? 1 : 0;
  }

  void failed(size_t index) {
    const std::lock_guard<std::mutex> lock(mutex_);
    failed_ = std::min(failed_, index);
  }

  // Memory for a piece that products are added to: its floats, those of the matrices, and what is read before it is widened.
  struct Merging {
    Merging(const Item& item, int64_t rows, int64_t width) : up(rows * width) {
      int64_t most = 0;
      stored = rows * width * storedBytes(item.source->dtype);
      for (const WeightProduct& product : item.source->products) {
        most = std::max(most, product.rank);
        stored =
            std::max({stored, rows * product.rank * storedBytes(product.up.dtype), product.rank * width * storedBytes(product.down.dtype)});
      }
      down = up + rows * most;
      floats = down + most * width;
      bytes = floats * dtypeBytes(DType::F32) + stored;
    }
    int64_t up, down, floats;  // where they begin, and how many there are
    int64_t stored, bytes;
  };

  // Negative where a file cannot be read, else whether all numbers are finite.
  int mergePiece(const Piece& piece, uint64_t offset, std::byte* staging) {
    const Item& item = items_[piece.item];
    const WeightSource& s = *item.source;
    const int64_t width = rowWidth(item), rows = piece.rows;
    const Merging places(item, rows, width);
    float* const weight = reinterpret_cast<float*>(staging);
    std::byte* const stored = staging + places.floats * dtypeBytes(DType::F32);
    const auto take = [&](size_t file, StoredType dtype, uint64_t begin, int64_t count, float* to) {
      if (!files_[file].read(begin, stored, static_cast<size_t>(count * storedBytes(dtype)))) return false;
      widen(dtype, stored, count, to);
      return true;
    };
    if (!take(item.file, s.dtype, offset, rows * width, weight)) return -1;
    for (size_t i = 0; i < s.products.size(); i++) {
      const WeightProduct& product = s.products[i];
      float *const up = weight + places.up, *const down = weight + places.down;
      const uint64_t above = static_cast<uint64_t>(piece.first * product.rank * storedBytes(product.up.dtype));
      if (!take(item.productFiles[i].first, product.up.dtype, product.up.begin + above, rows * product.rank, up)) return -1;
      if (!take(item.productFiles[i].second, product.down.dtype, product.down.begin, product.rank * width, down)) return -1;
      table_.addProduct({up, down, rows, product.rank, width, product.scale, weight}, queue_);
    }
    return store_.write(queue_, graph_, item.weight, item.part, piece.first, rows, DType::F32, weight) ? 1 : 0;
  }

  static Status readFailure(const Item& item) {
    return {Code::FileRead, "Expected to read weight " + item.source->name + ", bytes " + std::to_string(item.source->begin) + " to " +
                                std::to_string(item.source->end) + ", from \"" + item.source->file +
                                "\" but the file has become shorter or cannot be read"};
  }

  const Graph& graph_;
  const KernelTable& table_;
  ThreadPool& pool_;
  Queue& queue_;
  const std::atomic<bool>& cancel_;
  WeightStore& store_;
  std::vector<Item> items_;
  std::vector<File> files_;
  std::vector<Piece> pieces_;
  std::vector<char> finite_;  // per piece, each written by one task
  int64_t stagingBytes_ = 0;  // of the largest piece
  uint64_t total_ = 0;
  std::mutex mutex_;
  size_t failed_ = 0;         // the first piece that could not be read
};

}  // namespace

Status changeWeights(const Graph& graph, const KernelTable& table, const std::vector<WeightSource>& sources, ThreadPool& pool, Queue& queue,
                     const std::atomic<bool>& cancel, WeightStore* store, LoadResult* result) {
  return Loader(graph, table, pool, queue, cancel, *store).change(sources, result);
}

Status loadWeights(const Graph& graph, const KernelTable& table, const std::vector<WeightSource>& sources, ThreadPool& pool, Queue& queue,
                   const std::atomic<bool>& cancel, const std::string& cache, const LoadProgress& progress, WeightStore* store,
                   LoadResult* result) {
  LoadResult loaded;
  Status status = Loader(graph, table, pool, queue, cancel, *store).run(sources, cache, progress, &loaded);
  if (status.ok() && cancel.load(std::memory_order_relaxed)) status = {Code::Aborted, "The operation was aborted"};
  if (!status.ok()) {
    store->release();
    return status;
  }
  *result = std::move(loaded);
  return status;
}

}  // namespace asdm

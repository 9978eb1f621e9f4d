#include "weights/packed_cache.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <tuple>

#include "core/mapping.h"
#include "weights/hash.h"

namespace asdm {

namespace {

constexpr uint64_t kVersion = 1;
constexpr char kMagic[8] = {'A', 'S', 'D', 'M', 'P', 'A', 'C', 'K'};
constexpr size_t kHeaderBytes = 4096;      // so that weights begin at a page
constexpr size_t kChunk = size_t{1} << 22;  // is summed as one task: about a millisecond

struct Header {
  char magic[8];
  uint64_t version, fileBytes;
  uint64_t graph;    // what was packed, and how: weightsOf()
  uint64_t sources;  // from what: sourcesOf()
  uint64_t content;  // of the chunks' checksums
  uint64_t check;    // of all before it
};

uint64_t checkOf(const Header& header) {
  Hash hash;
  hash.add(&header, offsetof(Header, check));
  return hash.value();
}

// How the table packs matrices, by packing some: two rows of each of the graph's widths, in two panels. So a file packed by kernels
// of another layout is never taken for one of these, whatever changed.
bool addLayout(const Graph& graph, const KernelTable& table, Hash* hash) {
  constexpr int64_t kRows = kPackRows + 1;
  std::set<std::tuple<int64_t, int64_t, WeightFormat>> seen;
  std::vector<float> row;
  for (const WeightRef& w : graph.weights) {
    if (w.role != WeightRole::Matrix || !seen.emplace(w.shape.channels, w.shape.area, w.shape.format).second) continue;
    WeightShape shape = w.shape;
    shape.n = kRows;
    row.resize(static_cast<size_t>(shape.k()));
    for (size_t i = 0; i < row.size(); i++) row[i] = static_cast<float>(static_cast<int32_t>(i * 2654435761u % 509u) - 254);
    const size_t bytes = table.packedBytes(shape);
    Block packed;
    if (!packed.allocate(bytes)) return false;
    std::memset(static_cast<void*>(packed.data()), 0, bytes);
    table.pack({shape, row.data(), 0, 1, packed.data()});
    table.pack({shape, row.data(), kRows - 1, 1, packed.data()});
    hash->add(packed.data(), bytes);
  }
  return true;
}

bool weightsOf(const Graph& graph, const KernelTable& table, const WeightStore& store, uint64_t* value) {
  Hash hash;
  hash.add(std::string(table.name));
  hash.add(static_cast<uint64_t>(table.activations));
  for (size_t i = 0; i < graph.weights.size(); i++) {
    const WeightRef& w = graph.weights[i];
    for (const int64_t number : {static_cast<int64_t>(w.role), w.shape.n, w.shape.channels, w.shape.area, static_cast<int64_t>(w.shape.format), w.experts})
      hash.add(static_cast<uint64_t>(number));
    for (const WeightPart& part : w.parts) {
      hash.add(part.name);
      hash.add(static_cast<uint64_t>(part.rows));
    }
    hash.add(store.place(static_cast<WeightId>(i)));
  }
  hash.add(store.bytes());
  if (!addLayout(graph, table, &hash)) return false;
  *value = hash.value();
  return true;
}

// The files' sizes and times, and some of their bytes: all parts of a fine-tuned model differ, but what a tool wrote may have kept size and
// times. Not their paths, so that a folder may be moved.
bool sourcesOf(const std::vector<PackedCache::Origin>& origins, const std::vector<File>& files, uint64_t* value) {
  constexpr uint64_t kSamples = 64, kSampleBytes = 4096;
  Hash hash;
  for (const File& file : files) {
    for (const uint64_t number : {file.bytes(), file.modified(), file.changed()}) hash.add(number);
    const uint64_t last = file.bytes() > kSampleBytes ? file.bytes() - kSampleBytes : 0;
    char sample[kSampleBytes];
    for (uint64_t i = 0; i < kSamples; i++) {
      const uint64_t offset = last / (kSamples - 1) * i + last % (kSamples - 1) * i / (kSamples - 1);
      const size_t count = static_cast<size_t>(std::min(kSampleBytes, file.bytes() - offset));
      if (!file.read(offset, sample, count)) return false;
      hash.add(sample, count);
    }
  }
  for (const PackedCache::Origin& origin : origins)
    for (const uint64_t number : {uint64_t{origin.file}, static_cast<uint64_t>(origin.source->dtype), origin.source->begin, origin.source->end}) hash.add(number);
  *value = hash.value();
  return true;
}

uint64_t contentOf(const std::vector<uint64_t>& sums) {
  Hash hash;
  hash.add(sums.data(), sums.size() * sizeof(uint64_t));
  return hash.value();
}

Status aborted() { return {Code::Aborted, "The operation was aborted"}; }

}  // namespace

bool PackedCache::describe(const std::string& path, const Graph& graph, const KernelTable& table, const WeightStore& store,
                           const std::vector<Origin>& origins, const std::vector<File>& files) {
  path_ = path;
  why_.clear();
  return weightsOf(graph, table, store, &graph_) && sourcesOf(origins, files, &sources_);
}

Status PackedCache::read(ThreadPool& pool, const std::atomic<bool>& cancel, WeightStore* store, bool* used) {
  *used = false;
  why_.clear();
  {
    File file;
    const Status status = file.open(path_);
    if (!status.ok()) {
      if (status.code != Code::FileNotFound) why_ = "it cannot be read";
      return Status::good();
    }
    // The header is looked at before anything is mapped.
    Header header;
    const uint64_t wanted = kHeaderBytes + store->bytes();
    if (file.bytes() < kHeaderBytes || !file.read(0, &header, sizeof header) || std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) why_ = "it is none";
    else if (header.version != kVersion) why_ = "it is of another version of asdm";
    else if (header.check != checkOf(header)) why_ = "its header is damaged";
    else if (header.graph != graph_) why_ = "it is of another model or other kernels";
    else if (header.sources != sources_) why_ = "the weights have changed";
    else if (header.fileBytes != wanted || file.bytes() != wanted) why_ = "it is not whole";
  }
  if (!why_.empty()) return Status::good();

  Mapping mapping;
  Header header;
  if (!mapping.open(path_) || mapping.bytes() != kHeaderBytes + store->bytes() || !mapping.populate(0, kHeaderBytes)) {
    why_ = "it cannot be mapped";
    return Status::good();
  }
  std::memcpy(&header, mapping.data(), sizeof header);  // the file may have been replaced in between
  std::vector<uint64_t> sums((store->bytes() + kChunk - 1) / kChunk);
  std::atomic<bool> gone{false};
  pool.run(static_cast<int64_t>(sums.size()), [&](int64_t task, int) {
    if (cancel.load(std::memory_order_relaxed) || gone.load(std::memory_order_relaxed)) return;
    const size_t offset = kHeaderBytes + static_cast<size_t>(task) * kChunk, count = std::min(kChunk, mapping.bytes() - offset);
    if (!mapping.populate(offset, count)) {
      gone.store(true, std::memory_order_relaxed);
      return;
    }
    Hash hash;
    hash.add(mapping.data() + offset, count);
    sums[static_cast<size_t>(task)] = hash.value();
  });
  if (cancel.load(std::memory_order_relaxed)) return aborted();
  if (gone.load(std::memory_order_relaxed) || header.check != checkOf(header) || header.graph != graph_ || header.sources != sources_ ||
      header.content != contentOf(sums)) {
    why_ = "it is damaged";
    return Status::good();
  }
  store->adopt(std::move(mapping), kHeaderBytes);
  *used = true;
  return Status::good();
}

Status PackedCache::write(const WeightStore& store, const std::atomic<bool>& cancel, bool* written) {
  *written = false;
  NewFile file;
  std::vector<uint64_t> sums;
  bool ok = file.create(path_);
  for (size_t done = 0; ok && done < store.bytes(); done += kChunk) {
    if (cancel.load(std::memory_order_relaxed)) return aborted();
    const size_t count = std::min(kChunk, static_cast<size_t>(store.bytes()) - done);
    Hash hash;
    hash.add(store.base() + done, count);
    sums.push_back(hash.value());
    ok = file.write(kHeaderBytes + done, store.base() + done, count);
  }
  Header header = {};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.fileBytes = kHeaderBytes + store.bytes();
  header.graph = graph_;
  header.sources = sources_;
  header.content = contentOf(sums);
  header.check = checkOf(header);
  char first[kHeaderBytes] = {};
  std::memcpy(first, &header, sizeof header);
  *written = ok && file.write(0, first, sizeof first) && file.finish();
  if (!*written) why_ = file.why();
  return Status::good();
}

}  // namespace asdm

#include "weights/packed_cache.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <tuple>

#include "weights/hash.h"

namespace asdm {

namespace {

constexpr uint64_t kVersion = 1;
constexpr char kMagic[8] = {'A', 'S', 'D', 'M', 'P', 'A', 'C', 'K'};
constexpr size_t kHeaderBytes = 4096;      // so that weights begin at a page
constexpr size_t kChunk = size_t{1} << 22;  // is summed as one task: about a millisecond
constexpr size_t kStaged = 16;              // chunks at a time that go to a device by way of the host's memory

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
Status addLayout(const Graph& graph, const KernelTable& table, const std::shared_ptr<Device>& device, Queue& queue, Hash* hash) {
  const int64_t rows = table.traits->panelRows + 1;
  std::set<std::tuple<int64_t, int64_t, WeightFormat>> seen;
  std::vector<float> row;
  std::vector<std::byte> bytes;
  for (const WeightRef& w : graph.weights) {
    if (w.role != WeightRole::Matrix || !seen.emplace(w.shape.channels, w.shape.area, w.shape.format).second) continue;
    WeightShape shape = w.shape;
    shape.n = rows;
    row.resize(static_cast<size_t>(shape.k()));
    for (size_t i = 0; i < row.size(); i++) row[i] = static_cast<float>(static_cast<int32_t>(i * 2654435761u % 509u) - 254);
    bytes.resize(table.packedBytes(shape));
    Buffer packed;
    if (!packed.allocate(device, bytes.size())) return outOfMemory(static_cast<double>(bytes.size()), "a sample of packed weights");
    queue.fill(packed.data(), 0, bytes.size());
    ASDM_TRY(statusOf(queue.finish()));
    table.pack({shape, row.data(), 0, 1, packed.data()}, queue);
    table.pack({shape, row.data(), rows - 1, 1, packed.data()}, queue);
    queue.download(bytes.data(), packed.data(), bytes.size());
    ASDM_TRY(statusOf(queue.finish()));
    hash->add(bytes.data(), bytes.size());
  }
  return Status::good();
}

Status weightsOf(const Graph& graph, const KernelTable& table, const WeightStore& store, Queue& queue, uint64_t* value) {
  Hash hash;
  hash.add(std::string(table.name));
  hash.add(static_cast<uint64_t>(table.activations));
  for (size_t i = 0; i < graph.weights.size(); i++) {
    const WeightRef& w = graph.weights[i];
    for (const int64_t number :
         {static_cast<int64_t>(w.role), w.shape.n, w.shape.channels, w.shape.area, static_cast<int64_t>(w.shape.format), w.experts})
      hash.add(static_cast<uint64_t>(number));
    for (const WeightPart& part : w.parts) {
      hash.add(part.name);
      hash.add(static_cast<uint64_t>(part.rows));
    }
    hash.add(store.place(static_cast<WeightId>(i)));
  }
  hash.add(store.bytes());
  ASDM_TRY(addLayout(graph, table, store.device(), queue, &hash));
  *value = hash.value();
  return Status::good();
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
    for (const uint64_t number :
         {uint64_t{origin.file}, static_cast<uint64_t>(origin.source->dtype), origin.source->begin, origin.source->end})
      hash.add(number);
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

Status PackedCache::describe(const std::string& path, const Graph& graph, const KernelTable& table, const WeightStore& store, Queue& queue,
                             const std::vector<Origin>& origins, const std::vector<File>& files, bool* described) {
  path_ = path;
  why_.clear();
  ASDM_TRY(weightsOf(graph, table, store, queue, &graph_));
  *described = sourcesOf(origins, files, &sources_);
  return Status::good();
}

Status PackedCache::read(ThreadPool& pool, Queue& queue, const std::atomic<bool>& cancel, WeightStore* store, bool* used) {
  *used = false;
  why_.clear();
  File file;
  const Status status = file.open(path_);
  if (!status.ok()) {
    if (status.code != Code::FileNotFound) why_ = "it cannot be read";
    return Status::good();
  }
  // The header is looked at before any memory is taken.
  Header header;
  const uint64_t wanted = kHeaderBytes + store->bytes();
  if (file.bytes() < kHeaderBytes || !file.read(0, &header, sizeof header) || std::memcmp(header.magic, kMagic, sizeof kMagic) != 0)
    why_ = "it is none";
  else if (header.version != kVersion) why_ = "it is of another version of asdm";
  else if (header.check != checkOf(header)) why_ = "its header is damaged";
  else if (header.graph != graph_) why_ = "it is of another model or other kernels";
  else if (header.sources != sources_) why_ = "the weights have changed";
  else if (header.fileBytes != wanted || file.bytes() != wanted) why_ = "it is not whole";
  if (!why_.empty()) return Status::good();

  // Read into memory of our own, not mapped: who may write the file could shorten or change it while the weights are in use.
  ASDM_TRY(store->allocate(queue, WeightStore::Gaps::Filled));
  const std::shared_ptr<Device>& device = store->device();
  std::vector<uint64_t> sums((store->bytes() + kChunk - 1) / kChunk);
  // Straight to the weights' place where the host reaches it; else by way of its memory, some chunks at a time.
  const bool direct = device->traits().hostAddressable;
  const size_t together = direct ? sums.size() : std::min(sums.size(), kStaged);
  Buffer staging;
  if (!direct && !staging.allocateHost(device, together * kChunk))
    return outOfMemory(static_cast<double>(together * kChunk), "weights on their way");
  std::atomic<bool> gone{false};
  for (size_t first = 0; first < sums.size() && !gone && !cancel; first += together) {
    const uint64_t begin = uint64_t{first} * kChunk, bytes = std::min<uint64_t>(together * kChunk, store->bytes() - begin);
    std::byte* const to = direct ? store->room() : staging.data();
    pool.run(static_cast<int64_t>((bytes + kChunk - 1) / kChunk), [&](int64_t task, int) {
      if (cancel.load(std::memory_order_relaxed) || gone.load(std::memory_order_relaxed)) return;
      const size_t offset = static_cast<size_t>(task) * kChunk, count = static_cast<size_t>(std::min<uint64_t>(kChunk, bytes - offset));
      if (!file.read(kHeaderBytes + begin + offset, to + offset, count)) {
        gone.store(true, std::memory_order_relaxed);
        return;
      }
      Hash hash;
      hash.add(to + offset, count);
      sums[first + static_cast<size_t>(task)] = hash.value();
    });
    if (!direct && !gone && !cancel) ASDM_TRY(store->fill(queue, begin, bytes, to));
  }
  if (cancel.load(std::memory_order_relaxed)) return aborted();
  if (gone.load(std::memory_order_relaxed) || header.content != contentOf(sums)) {
    why_ = "it is damaged";
    return Status::good();
  }
  *used = true;
  return Status::good();
}

Status PackedCache::write(const WeightStore& store, Queue& queue, const std::atomic<bool>& cancel, bool* written) {
  *written = false;
  NewFile file;
  std::vector<uint64_t> sums;
  std::vector<std::byte> chunk(std::min<uint64_t>(kChunk, store.bytes()));
  bool ok = file.create(path_);
  for (size_t done = 0; ok && done < store.bytes(); done += kChunk) {
    if (cancel.load(std::memory_order_relaxed)) return aborted();
    const size_t count = std::min(kChunk, static_cast<size_t>(store.bytes()) - done);
    Hash hash;
    ASDM_TRY(store.read(queue, done, count, chunk.data()));
    hash.add(chunk.data(), count);
    sums.push_back(hash.value());
    ok = file.write(kHeaderBytes + done, chunk.data(), count);
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

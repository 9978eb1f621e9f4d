// Packed weights in a file, to be read as they are by later loads. The file is 4096 bytes of header and then the store's bytes as they lie in
// memory. It belongs to one graph, kernel set and number format, and to the weight files it was made of; all that is in the header, with
// checksums, and a file where anything differs is not used.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "core/thread_pool.h"
#include "weights/file.h"
#include "weights/sources.h"
#include "weights/store.h"

namespace asdm {

class PackedCache {
 public:
  // What the weights are packed from: in the order of the graph's parts, where each tensor lies in which of the files.
  struct Origin {
    const WeightSource* source;
    size_t file;
  };

  // store: arranged for this graph and table; queue: of its device, in all of these. Reads some of the weight files' bytes; false where
  // those cannot be read. Fails with OutOfMemory, and as Queue::finish does.
  Status describe(const std::string& path, const Graph& graph, const KernelTable& table, const WeightStore& store, Queue& queue,
                  const std::vector<Origin>& origins, const std::vector<File>& files, bool* described);

  // Reads the file into the store where it is whole and of these weights; else why() says what is wrong with it, or is empty where
  // there is none. Every byte is summed, so that damage is noticed. Fails with Aborted or OutOfMemory, and as Queue::finish does.
  Status read(ThreadPool& pool, Queue& queue, const std::atomic<bool>& cancel, WeightStore* store, bool* used);

  // Writes the store's weights, in place of the file that was there. False, and why() says so, where the system does not allow it.
  // Fails with Aborted, or as WeightStore::read does; nothing is left behind then either.
  Status write(const WeightStore& store, Queue& queue, const std::atomic<bool>& cancel, bool* written);

  const std::string& why() const { return why_; }

 private:
  std::string path_, why_;
  uint64_t graph_ = 0, sources_ = 0;
};

}  // namespace asdm

// What a kernel asked of the card, as the emulation saw it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace asdm::cuda::emulation {

// One access of one lane, until the warp's are put together.
struct Request {
  uint64_t address;
  uint32_t bytes;
  int site;
  bool shared, write;
};

struct KernelCounts {
  double launches = 0, blocks = 0;
  double globalRequests = 0;      // of a warp
  double globalSectors = 0;       // of 32 bytes that they touched: "transactions"
  double globalBytes = 0;         // that lanes asked for
  double globalWriteSectors = 0;  // of globalSectors
  double sharedRequests = 0;
  double sharedWavefronts = 0;    // cycles of the shared memory: 128 bytes each
  double sharedLeast = 0;         // those that the bytes would need without bank conflicts
  double barriers = 0;            // of a block
  double mma = 0, mmaBytes = 0;   // of a warp
  int threads = 0;
  uint32_t sharedBytes = 0;
  void add(const KernelCounts& other, double times);
};

// Puts the requests of a warp's lanes together: the i-th of each lane, where they stand at the same place of the source, are one.
// Clears them.
void countRequests(std::vector<Request>* const* lanes, int count, KernelCounts* counts);

// Shared-memory wavefronts of one request: lanes' byte offsets, each of the same number of bytes. Lanes share a wavefront unless two
// want different words of one bank; of 8 bytes half a warp, of 16 a quarter of it are one phase.
int wavefronts(const std::vector<uint32_t>& offsets, uint32_t bytes);

class Counts {
 public:
  void clear() { byKernel.clear(); }
  std::map<std::string, KernelCounts> byKernel;
};

}  // namespace asdm::cuda::emulation

// Who touched which memory last: finds races. Memory is watched in granules of two bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace asdm::cuda::emulation {

// Global memory that a launch may touch.
struct Span {
  const unsigned char* data;
  size_t bytes;
  bool writable;
  const char* name;
};

// Who accesses: a thread of a block, how many barriers it passed, and how many warpSync().
struct Toucher {
  uint64_t block;
  int thread;
  uint32_t barriers, warpSyncs;
};

class GlobalShadow {
 public:
  // A new launch: nothing is touched. One shadow for each span.
  void begin(const std::vector<Span>& spans);
  // True where the access races with an earlier one.
  bool read(size_t span, size_t at, size_t bytes, const Toucher&);
  bool write(size_t span, size_t at, size_t bytes, const Toucher&);

 private:
  static constexpr uint32_t kManyThreads = 0xffff;
  static constexpr uint32_t kManyBlocks = 0xffffffff;
  struct Mark {
    uint32_t launch = 0, block = 0, barriers = 0, thread = 0;
  };
  struct Granule {
    Mark read, written;
  };
  Granule* granules(size_t span);
  uint32_t launch_ = 0;
  std::vector<std::vector<Granule>> spans_;
  std::vector<size_t> sizes_;
};

class SharedShadow {
 public:
  enum class Verdict : uint8_t { Fine, Race, Unwritten, Pending };
  // A new block, of which nothing is written.
  void begin(size_t bytes);
  Verdict read(size_t at, size_t bytes, const Toucher&);
  Verdict write(size_t at, size_t bytes, const Toucher&);
  // copyAsync(): from now to arrive() nobody may touch the bytes.
  Verdict depart(size_t at, size_t bytes, const Toucher&);
  Verdict arrive(size_t at, size_t bytes, const Toucher&);

 private:
  static constexpr int kNobody = -1, kManyOfWarp = -2, kMany = -3;
  struct Mark {
    int thread = kNobody;
    int warp = 0;
    uint32_t barriers = 0, warpSyncs = 0;
  };
  struct Granule {
    Mark read, written;
    bool pending = false;
  };
  static bool ordered(const Mark&, const Toucher&);
  std::vector<Granule> granules_;
};

}  // namespace asdm::cuda::emulation

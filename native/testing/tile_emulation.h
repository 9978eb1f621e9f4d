// Tile registers in plain C++, as Intel's Software Developer's Manual (volume 2, LDTILECFG, TILELOADD, TDPBF16PS, TDPBUSD) describes them,
// so that the kernels for them are tested on machines that have none. What would be a fault there is told by TileWatch here.
#pragma once

#include <cstdint>
#include <mutex>

#include "cpu/vec/tile_config.h"

namespace asdm::testing {

// The registers of one thread.
class TileRegisters {
 public:
  static TileRegisters& ofThisThread();

  void configure(const cpu::TileConfig& config);
  void release();
  void zero(int tile);
  void load(int tile, const void* p, int64_t stride);
  void store(int tile, void* p, int64_t stride);
  // sums += left * right, in pairs of bfloat16; in unsigned bytes by signed ones.
  void dotBf16(int sums, int left, int right);
  void dotBytes(int sums, int left, int right);

 private:
  struct alignas(64) Tile {
    int rows = 0, bytes = 0;
    uint8_t data[16][64] = {};
  };
  bool usable(int tile, const char* instruction);
  bool multipliable(int sums, int left, int right, const char* instruction);

  Tile tiles_[8];
  bool configured_ = false;
};

// Watches the emulated registers of all threads while one kernel runs. Test files may run in threads of one process: they wait for each other.
class TileWatch {
 public:
  explicit TileWatch(bool needed);
  // What has gone wrong so far, or null: the first fault, or tiles that a thread has not released.
  const char* fault() const;

 private:
  std::unique_lock<std::mutex> lock_;
};

}  // namespace asdm::testing

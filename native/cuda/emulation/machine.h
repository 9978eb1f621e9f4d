// The emulated multiprocessor: runs the blocks of a launch one after the other, their threads as fibres in an order drawn from a seed,
// and checks what a card does not say. A launch with a fault ends at once; the first fault's sentence stays.
//
// Faults: an access outside the launch's memory (Span) or the block's shared memory, or misaligned; a write to read-only memory; two
// accesses to one address by different threads without a barrier between, one of which writes (threads of one warp: or warpSync();
// different blocks: never); shared memory read before it was written; a destination of copyAsync() touched before its copyWait(); a
// barrier, or a word of the whole warp, that not all threads come to; a stack that overflows; a launch beyond what the card takes.
//
// Not checked: time. A read of memory of 2-byte granules is a read of the whole granule.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cuda/device/types.h"
#include "cuda/emulation/counts.h"
#include "cuda/emulation/fibre.h"
#include "cuda/emulation/shadow.h"

namespace asdm::cuda::emulation {

struct Options {
  uint64_t seed = 1;         // of the order of threads, and of sampled blocks
  bool races = true;         // watch global memory for races; shared memory always is
  bool counts = true;
  int64_t sampledBlocks = 0;  // of each launch run so many blocks only, spread over the grid, and scale what they counted; 0: all
  uint32_t mostShared = 99 * 1024;  // bytes a block may have: sm_86 and sm_89 have the least of those with cp.async
};

struct Launch {
  const char* name;
  Grid grid;
  int threads;
  uint32_t sharedBytes;
  void (*body)(const void* params);
  const void* params;
};

// What all lanes of a warp do together.
enum class Together : uint8_t { None, WarpSync, Shuffle, Any, LoadMatrix, LoadMatrixTransposed, Mma, MmaBytes };

// What a lane brings to it, and takes away.
struct Exchange {
  uint32_t a[4];
  uint32_t b[2];
  uint32_t d[4];
  int from;
};

class Machine {
 public:
  Options options;
  Counts counts;  // by kernel, since the last clear

  // Memory that launches may touch from now on: of this thread's machine. Spans may not overlap unless one of them is the other.
  void setMemory(std::vector<Span> spans);
  void run(const Launch&);
  bool faulty() const { return !fault_.empty(); }
  // The first fault since the last call, or an empty text.
  std::string takeFault();

  // From within a kernel.
  int threadIndex() const { return current_->index; }
  Index3 blockIndex() const { return block_; }
  void read(const void* address, uint32_t bytes, int site, void* to);
  void write(void* address, uint32_t bytes, int site, const void* from);
  void sharedRead(uint32_t at, uint32_t bytes, int site, void* to);
  void sharedWrite(uint32_t at, uint32_t bytes, int site, const void* from);
  void copyAsync(uint32_t at, const void* from, bool whole, int site);
  void copyCommit();
  void copyWait(int most);
  void barrier(int site);
  Exchange& exchange() { return current_->exchange; }
  void together(Together what, int site);

 private:
  enum class State : uint8_t { Ready, AtBarrier, Together, Done };
  struct Copy {
    uint32_t at;
    uint32_t group;
    Words4 value;
  };
  struct Lane {
    Fibre fibre;
    State state = State::Ready;
    Together what = Together::None;
    int index = 0, site = 0;
    uint32_t group = 0;  // number of the group of copies that is open
    std::vector<Copy> copies;
    std::vector<Request> requests;
    Exchange exchange;
  };

  static void begin(void* lane);
  [[noreturn]] void leaveForGood();
  void stop(State state, int site);
  [[noreturn]] void fail(const std::string& what);
  std::string where() const;
  unsigned char* stackOf(int thread);
  void runBlock();
  bool runWarp(int warp);
  bool complete(int warp);
  void perform(int warp, Together what);
  void matrices(Lane* lanes, bool transposed);
  const Span* spanOf(const void* address, uint32_t bytes);
  unsigned char* shared(uint32_t at, uint32_t bytes);
  Toucher toucher() const;
  void judge(SharedShadow::Verdict);
  uint64_t random();

  const Launch* launch_ = nullptr;
  std::vector<Lane> lanes_;
  std::vector<unsigned char> stacks_, shared_;
  std::vector<Span> spans_;
  size_t lastSpan_ = 0;
  GlobalShadow global_;
  SharedShadow sharedShadow_;
  Lane* current_ = nullptr;
  Index3 block_{};
  uint64_t blockNumber_ = 0, random_ = 1;
  uint32_t barriers_ = 0;             // that the block passed
  std::vector<uint32_t> warpEpochs_;  // warpSync() of each warp
  std::string fault_;
};

// This host thread's.
Machine& machine();

}  // namespace asdm::cuda::emulation

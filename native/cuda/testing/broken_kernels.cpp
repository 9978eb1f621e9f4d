#include "cuda/testing/broken_kernels.h"

#include <map>
#include <vector>

#include "cuda/device/vocabulary.h"

namespace asdm::cuda::testing {

namespace {

// Every kernel gets 256 readable and 256 writable floats.
struct Memory {
  const float* in;
  float* out;
};
constexpr int kFloats = 256;

// A body as a kernel of kThreads_ threads.
template <int kThreads_, void (*kBody)(const Memory&)>
struct Body {
  using Params = Memory;
  static constexpr const char* kName = "tested";
  static constexpr int kThreads = kThreads_, kBlocks = 1;
  static void run(const Params& p) { kBody(p); }
};

void copyAll(const Memory& m) { store(m.out + thread(), load(m.in + thread())); }
void readPastEnd(const Memory& m) { store(m.out + thread(), load(m.in + thread() + kFloats - 63)); }
void readBefore(const Memory& m) { store(m.out + thread(), load(m.in + thread() - 1)); }
void writePastEnd(const Memory& m) { store(m.out + kFloats + thread(), 1.0f); }
void writeToInput(const Memory& m) { store(const_cast<float*>(m.in) + thread(), 1.0f); }
void misaligned(const Memory& m) {
  if (thread() == 0) load(reinterpret_cast<const Words4*>(m.in + 1));
}
void misalignedShared(const Memory&) { sharedStore(static_cast<uint32_t>(thread() * 16 + 4), Words2{{0, 0}}); }
void sharedPastEnd(const Memory&) { sharedStore(static_cast<uint32_t>(thread()) * 4 + 4096 - 252, 1.0f); }
void unwrittenShared(const Memory& m) {
  if (thread() == 0) store(m.out, sharedLoad<float>(0));
}

// Two threads write one float.
void globalRace(const Memory& m) { store(m.out + thread() / 2, 1.0f); }
// One writes what another reads.
void globalReadRace(const Memory& m) {
  store(m.out + thread(), 1.0f);
  load(m.out + (thread() + 1) % 64);
}
void globalBarrier(const Memory& m) {
  store(m.out + thread(), 1.0f);
  barrier();
  load(m.out + (thread() + 1) % 64);
}
// Blocks know no order among each other.
void blocksRace(const Memory& m) {
  store(m.out + thread(), 1.0f);
  barrier();
}

void exchangeShared(const Memory& m, bool fence) {
  sharedStore(static_cast<uint32_t>(thread()) * 4, load(m.in + thread()));
  if (fence) barrier();
  store(m.out + thread(), sharedLoad<float>(static_cast<uint32_t>((thread() + 33) % 64) * 4));
}
void sharedRace(const Memory& m) { exchangeShared(m, false); }
void sharedBarrier(const Memory& m) { exchangeShared(m, true); }
// A read, and a write of the next round, without a barrier between.
void sharedReuseRace(const Memory& m) {
  exchangeShared(m, true);
  sharedStore(static_cast<uint32_t>(thread()) * 4, 2.0f);
}
void warpExchange(const Memory& m, bool fence, int distance) {
  sharedStore(static_cast<uint32_t>(thread()) * 4, load(m.in + thread()));
  if (fence) warpSync();
  store(m.out + thread(), sharedLoad<float>(static_cast<uint32_t>((thread() + distance) % 64) * 4));
}
void warpRace(const Memory& m) { warpExchange(m, false, 1); }
// Fine within a warp ...
void warpOrder(const Memory& m) {
  sharedStore(static_cast<uint32_t>(thread()) * 4, load(m.in + thread()));
  warpSync();
  store(m.out + thread(), sharedLoad<float>(static_cast<uint32_t>(thread() ^ 1) * 4));
}
// ... and not between two.
void warpOrderAcross(const Memory& m) { warpExchange(m, true, 32); }

void divergentBarrier(const Memory&) {
  if (thread() < 32) barrier();
}
void twoBarriers(const Memory&) {
  if (thread() < 32) barrier();
  else barrier();
}
void divergentShuffle(const Memory& m) {
  if (lane() < 16) store(m.out + thread(), shuffle(1.0f, 0));
}
void divergentShuffles(const Memory& m) {
  if (lane() < 16) store(m.out + thread(), shuffle(1.0f, 0));
  else store(m.out + thread(), shuffle(2.0f, 0));
}

void copyGroups(const Memory& m, int early, bool ordered) {
  const auto at = static_cast<uint32_t>(thread()) * 16;
  copyAsync(at, m.in + thread() * 4, true);
  copyCommit();
  copyAsync(at + 1024, m.in + thread() * 4, true);
  copyCommit();
  if (ordered) copyWait<1>();
  if (early == 0) sharedLoad<float>(at);         // of the older group
  if (early == 1) sharedLoad<float>(at + 1024);  // of the younger
  if (early == 2) sharedStore(at + 1024, 1.0f);
  copyWait<0>();
  store(m.out + thread(), sharedLoad<float>(at));
}
void copyUnawaited(const Memory& m) { copyGroups(m, 0, false); }
void copyAwaited(const Memory& m) { copyGroups(m, 0, true); }
void copyTooYoung(const Memory& m) { copyGroups(m, 1, true); }
void copyOverwritten(const Memory& m) { copyGroups(m, 2, true); }
// What another thread copied is there only after a barrier.
void copyNoBarrier(const Memory& m) {
  copyAsync(static_cast<uint32_t>(thread()) * 16, m.in + thread() * 4, true);
  copyCommit();
  copyWait<0>();
  store(m.out + thread(), sharedLoad<float>(static_cast<uint32_t>((thread() + 1) % 64) * 16));
}
void copyNeverAwaited(const Memory& m) {
  copyAsync(static_cast<uint32_t>(thread()) * 16, m.in + thread() * 4, true);
  copyCommit();
}
// A copy of nothing reads nothing, and writes zeros.
void copyZeros(const Memory& m) {
  copyAsync(static_cast<uint32_t>(thread()) * 16, m.in + 100000, false);
  copyCommit();
  copyWait<0>();
  store(m.out + thread(), sharedLoad<float>(static_cast<uint32_t>(thread()) * 16));
}

void overflowStack(const Memory& m) {
  volatile unsigned char much[emulation::Fibre::kStackBytes];
  for (size_t i = 0; i < sizeof much; i++) much[i] = 1;
  store(m.out + thread(), static_cast<float>(much[0]));
}

// Counted: 2 warps, each a request of 4 sectors to read and one of 16 (every fourth float) to write.
void strided(const Memory& m) { store(m.out + thread() * 4, load(m.in + thread())); }
// A column of 32 floats of rows of 32: 32 wavefronts to write, one to read.
void conflicted(const Memory& m) {
  sharedStore(static_cast<uint32_t>(lane()) * 128 + static_cast<uint32_t>(warp()) * 4, 1.0f);
  barrier();
  sharedStore(static_cast<uint32_t>(thread()) * 4, 2.0f);
  barrier();
  store(m.out + thread(), sharedLoad<float>(static_cast<uint32_t>(thread()) * 4));
}

// Both begin a line, and nothing of a launch's lies beside them.
struct {
  alignas(128) float before[kFloats];
  alignas(128) float in[kFloats];
  alignas(128) float between[2 * kFloats];
  alignas(128) float out[kFloats];
  alignas(128) float behind[kFloats];
} memory;

template <void (*kBody)(const Memory&), int kThreads = 64, int kGrid = 1, uint32_t kShared = 4096>
void run() {
  std::vector<emulation::Span> spans;
  spans.push_back({reinterpret_cast<const unsigned char*>(memory.out), sizeof memory.out, true, "out"});
  spans.push_back({reinterpret_cast<const unsigned char*>(memory.in), sizeof memory.in, false, "in"});
  emulation::machine().setMemory(spans);
  Stream stream;
  launch<Body<kThreads, kBody>>(stream, Grid{kGrid}, kShared, Memory{memory.in, memory.out});
}

}  // namespace

bool runBroken(const std::string& name) {
  static const std::map<std::string, void (*)()> all = {
      {"copyAll", run<copyAll>},
      {"readPastEnd", run<readPastEnd>},
      {"readBefore", run<readBefore>},
      {"writePastEnd", run<writePastEnd>},
      {"writeToInput", run<writeToInput>},
      {"misaligned", run<misaligned>},
      {"misalignedShared", run<misalignedShared>},
      {"sharedPastEnd", run<sharedPastEnd>},
      {"unwrittenShared", run<unwrittenShared>},
      {"globalRace", run<globalRace>},
      {"globalReadRace", run<globalReadRace>},
      {"globalBarrier", run<globalBarrier>},
      {"blocksRace", run<blocksRace, 64, 2>},
      {"sharedRace", run<sharedRace>},
      {"sharedBarrier", run<sharedBarrier>},
      {"sharedReuseRace", run<sharedReuseRace>},
      {"warpRace", run<warpRace>},
      {"warpOrder", run<warpOrder>},
      {"warpOrderAcross", run<warpOrderAcross>},
      {"divergentBarrier", run<divergentBarrier>},
      {"twoBarriers", run<twoBarriers>},
      {"divergentShuffle", run<divergentShuffle>},
      {"divergentShuffles", run<divergentShuffles>},
      {"copyUnawaited", run<copyUnawaited>},
      {"copyAwaited", run<copyAwaited>},
      {"copyTooYoung", run<copyTooYoung>},
      {"copyOverwritten", run<copyOverwritten>},
      {"copyNoBarrier", run<copyNoBarrier>},
      {"copyNeverAwaited", run<copyNeverAwaited>},
      {"copyZeros", run<copyZeros>},
      {"overflowStack", run<overflowStack>},
      {"oddThreads", run<copyAll, 48>},
      {"tooMuchShared", run<copyAll, 64, 1, 200 * 1024>},
      {"strided", run<strided>},
      {"conflicted", run<conflicted>},
  };
  const auto found = all.find(name);
  if (found == all.end()) return false;
  found->second();
  return true;
}

}  // namespace asdm::cuda::testing

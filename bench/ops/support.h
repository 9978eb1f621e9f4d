// What the benches of single kernels share: the thread's clock, the core's peak, random numbers, aligned memory.
#pragma once

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cpu/peak/peak.h"

namespace asdm::bench {

// CPU time of this thread, so that other programs disturb little.
inline double seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// The least seconds of `runs`.
template <class Body>
double best(int runs, const Body& body) {
  double least = 1e30;
  for (int i = 0; i < runs; i++) {
    const double start = seconds();
    body();
    const double took = seconds() - start;
    if (took < least) least = took;
  }
  return least;
}

// Operations a second, in 1e9 (a product and its addition are two), of a set's widest multiply-accumulate on registers alone; those in
// float where the set has none for the format. The best of `runs` of about a millisecond.
inline double peak(const std::string& set, DType dtype, int runs = 1) {
  cpu::PeakKernel kernel = cpu::peakKernel(set, dtype);
  if (kernel.run == nullptr) kernel = cpu::peakKernel(set, DType::F32);
  const int64_t rounds = 300000;
  return 2e-9 * static_cast<double>(kernel.macs * rounds) / best(runs, [&] { kernel.run(rounds); });
}

// Numbers in [-1, 1), the same for the same state.
inline std::vector<float> noise(size_t count, uint32_t state) {
  std::vector<float> v(count);
  for (float& x : v) {
    state = state * 1664525u + 1013904223u;
    x = static_cast<float>(static_cast<int32_t>(state)) * (1.0f / 2147483648.0f);
  }
  return v;
}

// Makes the block large enough for `bytes` that begin at a cache line.
inline std::byte* aligned(std::vector<std::byte>& block, size_t bytes) {
  if (block.size() < bytes + 64) block.resize(bytes + 64);
  return reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(block.data()) + 63) & ~uintptr_t{63});
}

}  // namespace asdm::bench

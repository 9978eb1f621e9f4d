// How near the attention kernels come to the core's multiply-add peak. Compile from the repository's root and run:
//   g++ -std=c++17 -O3 -ffp-contract=off -Inative bench/ops/attention_bench.cpp native/core/thread_pool.cpp
//     native/cpu/attention/{portable,avx2,avx512}.cpp -pthread -o build/attention_bench && build/attention_bench [set]
// One thread, thread CPU time, best of several runs; the peak is a loop of independent 512-bit (or 256-bit) multiply-adds timed the
// same way right before. Only the two products count as work: 4 * queries * keys * headDim operations per head.
#include "cpu/attention/attention.h"

#include <immintrin.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

using namespace asdm;

static double seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

template <class Body>
static double best(int runs, const Body& body) {
  double least = 1e30;
  for (int i = 0; i < runs; i++) {
    const double start = seconds();
    body();
    const double took = seconds() - start;
    if (took < least) least = took;
  }
  return least;
}

// A run of independent multiply-adds long enough to cover their latency, in registers.
__attribute__((target("avx512f"), noinline)) static float chain512(int rounds) {
  __m512 a[12];
  for (int i = 0; i < 12; i++) a[i] = _mm512_set1_ps(0.1f * static_cast<float>(i));
  const __m512 m = _mm512_set1_ps(0.999f);
  for (int k = 0; k < rounds; k++)
    for (int i = 0; i < 12; i++) a[i] = _mm512_fmadd_ps(a[i], m, m);
  float sum = 0.0f, lanes[16];
  for (int i = 0; i < 12; i++) {
    _mm512_storeu_ps(lanes, a[i]);
    sum += lanes[0];
  }
  return sum;
}

__attribute__((target("avx2,fma"), noinline)) static float chain256(int rounds) {
  __m256 a[12];
  for (int i = 0; i < 12; i++) a[i] = _mm256_set1_ps(0.1f * static_cast<float>(i));
  const __m256 m = _mm256_set1_ps(0.999f);
  for (int k = 0; k < rounds; k++)
    for (int i = 0; i < 12; i++) a[i] = _mm256_fmadd_ps(a[i], m, m);
  float sum = 0.0f, lanes[8];
  for (int i = 0; i < 12; i++) {
    _mm256_storeu_ps(lanes, a[i]);
    sum += lanes[0];
  }
  return sum;
}

// GFLOP/s
static double peak(bool wide) {
  volatile float sink = 0.0f;
  const double took = best(20, [&] { sink = wide ? chain512(200000) : chain256(200000); });
  return 200000.0 * 12 * (wide ? 32 : 16) / took / 1e9 + 0.0 * sink;
}

struct Set {
  const char* name;
  void (*run)(const AttentionArgs&, KernelContext&) noexcept;
  size_t (*scratch)(const AttentionArgs&, int) noexcept;
};

struct Case {
  int64_t heads, queries, keys, headDim;
  bool causal;
};

int main(int argc, char** argv) {
  const Set sets[] = {{"avx512", cpu::avx512::attention, cpu::avx512::attentionScratch},
                      {"avx2", cpu::avx2::attention, cpu::avx2::attentionScratch},
                      {"portable", cpu::portable::attention, cpu::portable::attentionScratch}};
  const Case cases[] = {{2, 4096, 4096, 40, false}, {2, 4096, 4096, 64, false}, {1, 4096, 4096, 80, false},
                        {2, 1024, 1024, 80, false}, {8, 256, 256, 160, false},  {8, 64, 64, 160, false},
                        {1, 4096, 4096, 512, false}, {8, 4096, 77, 40, false},   {8, 1024, 77, 80, false},
                        {8, 256, 77, 160, false},   {12, 77, 77, 64, true}};
  const bool wide = __builtin_cpu_supports("avx512f");
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  ThreadPool pool(1);
  for (const Set& set : sets) {
    if (argc > 1 ? std::strcmp(argv[1], set.name) != 0 : (!wide && &set == sets)) continue;
    for (const Case& c : cases) {
      if (&set != sets && c.heads * c.queries * c.keys * c.headDim > 3'000'000'000) continue;
      const int64_t width = c.heads * c.headDim;
      std::vector<float> q(c.queries * width), k(c.keys * width), v(c.keys * width), o(c.queries * width);
      for (float& x : q) x = normal(random);
      for (float& x : k) x = normal(random);
      for (float& x : v) x = normal(random);
      const AttentionArgs args{q.data(), k.data(), v.data(), width, width, width, 1, c.heads, c.queries, c.keys,
                               c.headDim, 1.0f / __builtin_sqrtf(static_cast<float>(c.headDim)), c.causal, o.data(), width};
      const size_t bytes = set.scratch(args, 1);
      std::unique_ptr<std::byte, void (*)(void*)> scratch(
          static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)), std::free);
      KernelContext context{pool, scratch.get()};
      const double ceiling = peak(wide);
      const double flops = 4.0 * c.heads * c.queries * c.keys * c.headDim * (c.causal ? 0.5 : 1.0);
      const double took = best(flops > 2e9 ? 5 : 40, [&] { set.run(args, context); });
      std::printf("%-8s heads %2lld  %4lld x %4lld  d %3lld%s  %8.3f ms  %6.1f GFLOP/s  %4.1f %% of %.1f\n", set.name,
                  static_cast<long long>(c.heads), static_cast<long long>(c.queries), static_cast<long long>(c.keys),
                  static_cast<long long>(c.headDim), c.causal ? " causal" : "       ", took * 1e3, flops / took / 1e9,
                  100.0 * flops / took / 1e9 / ceiling, ceiling);
    }
  }
  return 0;
}

// How near the attention kernels come to the core's multiply-add peak. Compile from the repository's root and run:
//   g++ -std=c++17 -O3 -ffp-contract=off -Inative bench/ops/attention_bench.cpp native/core/thread_pool.cpp native/core/worker_threads.cpp
//     native/cpu/attention/*.cpp native/cpu/peak/*.cpp native/cpu/cpuid.cpp -pthread -o build/attention_bench && build/attention_bench [sets [headDim]]
// One thread, thread CPU time, best of several runs; the peak is cpu/peak's, independent multiply-adds of floats,
// timed the same way right before, for bfloat16 too: those that multiply pairs at once may pass it. Only the two products count as
// work: 4 * queries * keys * headDim operations per head. Results are compared with those of double precision for some rows.
#include "cpu/attention/attention.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "cpu/cpuid.h"
#include "support.h"

using namespace asdm;
using namespace asdm::bench;

struct Set {
  const char* name;
  bool bf16;
  void (*run)(const AttentionArgs&, cpu::KernelContext&) noexcept;
  size_t (*scratch)(const AttentionArgs&, int) noexcept;
};

struct Case {
  int64_t heads, queries, keys, headDim;
  bool causal;
};

// Normal numbers in either format; both hold the same, rounded to bfloat16.
class Tensor {
 public:
  Tensor(int64_t count, bool bf16, unsigned seed) : floats_(static_cast<size_t>(count)), halves_(bf16 ? floats_.size() : 0), bf16_(bf16) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < floats_.size(); i++) {
      const Bf16 rounded = toBf16(normal(random));
      floats_[i] = toFloat(rounded);
      if (bf16) halves_[i] = rounded;
    }
  }
  void* data() { return bf16_ ? static_cast<void*>(halves_.data()) : floats_.data(); }
  double operator[](int64_t i) const { return bf16_ ? toFloat(halves_[static_cast<size_t>(i)]) : floats_[static_cast<size_t>(i)]; }

 private:
  std::vector<float> floats_;
  std::vector<Bf16> halves_;
  bool bf16_;
};

// Relative RMS error of one row in each head.
static double error(const Case& c, double scale, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o) {
  double squares = 0.0, whole = 0.0;
  const int64_t width = c.heads * c.headDim;
  std::vector<double> weight(static_cast<size_t>(c.keys));
  for (int64_t head = 0; head < c.heads; head++) {
    const int64_t row = (head * 997 + 41) % c.queries, column = head * c.headDim, keys = c.causal ? row + 1 : c.keys;
    double top = -1e300, sum = 0.0;
    for (int64_t j = 0; j < keys; j++) {
      double score = 0.0;
      for (int64_t d = 0; d < c.headDim; d++) score += q[row * width + column + d] * k[j * width + column + d];
      weight[static_cast<size_t>(j)] = score * scale;
      if (score * scale > top) top = score * scale;
    }
    for (int64_t j = 0; j < keys; j++) sum += weight[static_cast<size_t>(j)] = __builtin_exp(weight[static_cast<size_t>(j)] - top);
    for (int64_t d = 0; d < c.headDim; d++) {
      double want = 0.0;
      for (int64_t j = 0; j < keys; j++) want += weight[static_cast<size_t>(j)] / sum * v[j * width + column + d];
      const double off = o[row * width + column + d] - want;
      squares += off * off;
      whole += want * want;
    }
  }
  return __builtin_sqrt(squares / whole);
}

int main(int argc, char** argv) {
  const Set sets[] = {
#if defined(ASDM_HAS_AMX)
      {"amx", true, cpu::amx::attention<Bf16>, cpu::amx::attentionScratch<Bf16>},
#endif
      {"avx512bf16", true, cpu::avx512bf16::attention<Bf16>, cpu::avx512bf16::attentionScratch<Bf16>},
      {"avx512", false, cpu::avx512::attention<float>, cpu::avx512::attentionScratch<float>},
      {"avx512", true, cpu::avx512::attention<Bf16>, cpu::avx512::attentionScratch<Bf16>},
      {"avx2", false, cpu::avx2::attention<float>, cpu::avx2::attentionScratch<float>},
      {"avx2", true, cpu::avx2::attention<Bf16>, cpu::avx2::attentionScratch<Bf16>},
      {"portable", false, cpu::portable::attention<float>, cpu::portable::attentionScratch<float>},
      {"portable", true, cpu::portable::attention<Bf16>, cpu::portable::attentionScratch<Bf16>}};
  const Case cases[] = {{2, 4096, 4096, 40, false}, {2, 4096, 4096, 64, false}, {1, 4096, 4096, 80, false},  {2, 1024, 1024, 80, false},
                        {8, 256, 256, 160, false},  {8, 64, 64, 160, false},    {1, 4096, 4096, 512, false}, {8, 4096, 77, 40, false},
                        {8, 1024, 77, 80, false},   {8, 256, 77, 160, false},   {12, 77, 77, 64, true}};
  const bool wide = __builtin_cpu_supports("avx512f"), pairs = __builtin_cpu_supports("avx512bf16");
  const bool tiles = cpu::detect().amxBf16;  // asking also gets the system's leave
  ThreadPool pool(1);
  for (const Case& c : cases) {
    if (argc > 2 && std::atoi(argv[2]) != c.headDim) continue;
    double plain = 0.0;  // of the first float set
    for (const Set& set : sets) {
      const bool amx = !std::strcmp(set.name, "amx"), bf16 = !std::strcmp(set.name, "avx512bf16"),
                 needed = amx || !std::strncmp(set.name, "avx512", 6);
      if ((needed && !wide) || (bf16 && !pairs) || (amx && !tiles)) continue;
      if (argc > 1 ? std::strstr(argv[1], set.name) == nullptr : !needed && c.heads * c.queries * c.keys * c.headDim > 3'000'000'000)
        continue;
      const int64_t width = c.heads * c.headDim;
      Tensor q(c.queries * width, set.bf16, 1), k(c.keys * width, set.bf16, 2), v(c.keys * width, set.bf16, 3);
      Tensor o(c.queries * width, set.bf16, 4);
      const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(c.headDim));
      const AttentionArgs args{q.data(),  k.data(), v.data(),  width, width,    width,    1,    c.heads,
                               c.queries, c.keys,   c.headDim, scale, c.causal, o.data(), width};
      const size_t bytes = set.scratch(args, 1);
      std::unique_ptr<std::byte, void (*)(void*)> scratch(static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)),
                                                          std::free);
      cpu::KernelContext context{pool, scratch.get()};
      const double ceiling = peak(wide ? "avx512" : "avx2", DType::F32, 20);
      const double flops = 4.0 * c.heads * c.queries * c.keys * c.headDim * (c.causal ? 0.5 : 1.0);
      const double took = best(flops > 2e9 ? 5 : 40, [&] { set.run(args, context); });
      if (!set.bf16 && plain == 0.0) plain = took;
      std::printf("%-10s %s heads %2lld  %4lld x %4lld  d %3lld%s  %8.3f ms  %6.1f GFLOP/s  %5.1f %% of %.1f  error %.1e", set.name,
                  set.bf16 ? "bf16" : "fp32", static_cast<long long>(c.heads), static_cast<long long>(c.queries),
                  static_cast<long long>(c.keys), static_cast<long long>(c.headDim), c.causal ? " causal" : "       ", took * 1e3,
                  flops / took / 1e9, 100.0 * flops / took / 1e9 / ceiling, ceiling, error(c, scale, q, k, v, o));
      if (set.bf16 && plain > 0.0) std::printf("  %.2f x fp32", plain / took);
      std::printf("\n");
    }
  }
  return 0;
}

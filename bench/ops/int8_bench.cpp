// Share of the machine's peak that linear layers and convolutions in int8 reach, on the shapes of SD 1.5, one thread.
//
//   g++ -std=c++17 -O3 -ffp-contract=off -Inative bench/ops/int8_bench.cpp native/cpu/int8/*.cpp native/cpu/peak/*.cpp
//     native/cpu/cpuid.cpp native/cpu/gemm/grid.cpp native/core/thread_pool.cpp -pthread -o /tmp/int8_bench          (one line)
//   /tmp/int8_bench [set] [filter]
//
// Peak is cpu/peak's: independent vpdpbusd, or float32 FMAs for sets without it. Both are timed by the thread's processor time, in
// turn, best of several, so that other programs disturb little. A call's time includes quantising its
// activations. First each result is compared with double precision at some points; the error is relative to the root of the mean
// square, as quantising gives it on noise.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/bf16.h"
#include "cpu/cpuid.h"
#include "cpu/int8/int8.h"
#include "support.h"

using namespace asdm;
using namespace asdm::bench;

namespace {

struct Kernels {
  const char* name;
  size_t (*packedBytes)(const WeightShape&) noexcept;
  bool (*pack)(const PackArgs&) noexcept;
  void (*linear)(const LinearArgs&, KernelContext&) noexcept;
  size_t (*linearScratch)(const LinearArgs&, int) noexcept;
  void (*conv)(const ConvArgs&, KernelContext&) noexcept;
  size_t (*convScratch)(const ConvArgs&, int) noexcept;
};

#define KERNELS(set)                                                                                                 \
  Kernels {                                                                                                          \
    #set, cpu::set::int8::packedBytes, cpu::set::int8::pack, cpu::set::int8::linear, cpu::set::int8::linearScratch, \
        cpu::set::int8::conv, cpu::set::int8::convScratch                                                            \
  }

const Kernels kSets[] = {
#if defined(ASDM_HAS_AMX)
    KERNELS(amx),
#endif
    KERNELS(avx512bf16), KERNELS(avx512vnni), KERNELS(avx512), KERNELS(avx2), KERNELS(portable)};

struct Case {
  const char* kind;  // "conv" or "linear"
  int64_t n, h, w;   // linear: n rows, h = w = 1
  int64_t channels, co, kernel;
};

const Case kCases[] = {
    {"conv", 2, 64, 64, 320, 320, 3},     {"conv", 2, 64, 64, 640, 320, 3},    {"conv", 2, 64, 64, 960, 320, 3},
    {"conv", 2, 32, 32, 640, 640, 3},     {"conv", 2, 32, 32, 1280, 640, 3},   {"conv", 2, 32, 32, 1920, 640, 3},
    {"conv", 2, 16, 16, 1280, 1280, 3},   {"conv", 2, 16, 16, 2560, 1280, 3},  {"conv", 2, 8, 8, 1280, 1280, 3},
    {"conv", 2, 8, 8, 2560, 1280, 3},     {"linear", 8192, 1, 1, 960, 320, 1}, {"linear", 8192, 1, 1, 320, 320, 1},
    {"linear", 8192, 1, 1, 320, 960, 1},  {"linear", 8192, 1, 1, 320, 2560, 1}, {"linear", 8192, 1, 1, 1280, 320, 1},
    {"linear", 2048, 1, 1, 640, 640, 1},  {"linear", 2048, 1, 1, 640, 5120, 1}, {"linear", 2048, 1, 1, 2560, 640, 1},
    {"linear", 512, 1, 1, 1280, 1280, 1}, {"linear", 512, 1, 1, 1280, 10240, 1}, {"linear", 512, 1, 1, 5120, 1280, 1},
    {"linear", 154, 1, 1, 768, 320, 1},   {"linear", 154, 1, 1, 768, 1280, 1}, {"linear", 2, 1, 1, 1280, 1280, 1},
};

// Root of the mean square difference from double precision at 200 places, relative to that of the true values.
double error(const Case& c, const std::vector<Bf16>& x, const std::vector<float>& weight, const std::vector<Bf16>& y) {
  double wrong = 0, size = 1e-30;
  uint32_t state = 1;
  const int64_t area = c.kernel * c.kernel, pad = c.kernel / 2;
  for (int probe = 0; probe < 200; probe++) {
    state = state * 1664525u + 1013904223u;
    const int64_t at = static_cast<int64_t>(state) % static_cast<int64_t>(y.size());
    const int64_t o = at % c.co, pixel = at / c.co;
    const int64_t px = pixel % c.w, py = pixel / c.w % c.h, sample = pixel / (c.w * c.h);
    double sum = 0;
    for (int64_t tap = 0; tap < area; tap++) {
      const int64_t sy = py + tap / c.kernel - pad, sx = px + tap % c.kernel - pad;
      if (sy < 0 || sy >= c.h || sx < 0 || sx >= c.w) continue;
      for (int64_t i = 0; i < c.channels; i++)
        sum += static_cast<double>(toFloat(x[static_cast<size_t>(((sample * c.h + sy) * c.w + sx) * c.channels + i)])) *
               weight[static_cast<size_t>((o * c.channels + i) * area + tap)];
    }
    wrong += (sum - toFloat(y[static_cast<size_t>(at)])) * (sum - toFloat(y[static_cast<size_t>(at)]));
    size += sum * sum;
  }
  return std::sqrt(wrong / size);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string set = argc > 1 ? argv[1] : "avx512bf16", filter = argc > 2 ? argv[2] : "";
  const Kernels* kernels = nullptr;
  for (const Kernels& candidate : kSets)
    if (set == candidate.name) kernels = &candidate;
  if (kernels == nullptr) {
    std::fprintf(stderr, "Expected a set of this bench but received %s\n", set.c_str());
    return 1;
  }
  if (set == "amx" && !cpu::detect().amxInt8) {  // asking also gets the system's leave
    std::fputs("no tile registers here\n", stderr);
    return 1;
  }
  ThreadPool pool(1);
  double totalTime = 0, totalFlop = 0;
  for (const Case& c : kCases) {
    const bool linear = std::strcmp(c.kind, "linear") == 0;
    const int64_t rows = c.n * c.h * c.w;
    char name[96];
    std::snprintf(name, sizeof name, "%s %lldx%lldx%lld %lld->%lld k%lld", c.kind, static_cast<long long>(c.n),
                  static_cast<long long>(c.h), static_cast<long long>(c.w), static_cast<long long>(c.channels),
                  static_cast<long long>(c.co), static_cast<long long>(c.kernel));
    if (std::string(name).find(filter) == std::string::npos) continue;
    const WeightShape shape{c.co, c.channels, c.kernel * c.kernel, WeightFormat::I8};
    const std::vector<float> numbers = noise(static_cast<size_t>(rows * c.channels), 1);
    std::vector<Bf16> x(numbers.size());
    for (size_t i = 0; i < x.size(); i++) x[i] = toBf16(numbers[i]);
    const std::vector<float> weight = noise(static_cast<size_t>(shape.n * shape.k()), 2);
    std::vector<Bf16> y(static_cast<size_t>(rows * c.co));
    std::vector<std::byte> packedBlock, scratchBlock;
    std::byte* packed = aligned(packedBlock, kernels->packedBytes(shape));
    const double packStart = seconds();
    kernels->pack({shape, weight.data(), 0, c.co, packed});
    const double packTime = seconds() - packStart;
    const LinearArgs l{x.data(), rows, c.channels, shape, packed, nullptr, Activation::None, nullptr, c.co, y.data(), c.co};
    const ConvArgs v{x.data(), c.n, c.h, c.w, 0, 0, c.kernel, c.kernel, 1, c.kernel / 2, c.kernel / 2, c.h, c.w, shape, packed,
                     nullptr, nullptr, 0, nullptr, y.data()};
    KernelContext context{pool, aligned(scratchBlock, linear ? kernels->linearScratch(l, 1) : kernels->convScratch(v, 1))};
    const double flop = 2.0 * static_cast<double>(rows * shape.k() * c.co);
    double best = 1e9, top = 0;
    const int repeats = flop > 2e10 ? 5 : flop > 5e8 ? 9 : 25;
    for (int i = 0; i < repeats; i++) {
      if (i < 8) top = std::max(top, peak(kernels->name, DType::I8));
      const double start = seconds();
      if (linear) kernels->linear(l, context);
      else kernels->conv(v, context);
      best = std::min(best, seconds() - start);
    }
    totalTime += best;
    totalFlop += flop;
    std::printf("%-34s %8.2f ms %6.1f GOP/s  %5.1f %% of %.1f  pack %.2f GB/s  error %.1e\n", name, best * 1e3, flop / best * 1e-9,
                100 * flop / best * 1e-9 / top, top, 4e-9 * static_cast<double>(weight.size()) / packTime, error(c, x, weight, y));
    std::fflush(stdout);
  }
  std::printf("all: %.1f GOP/s\n", totalFlop / totalTime * 1e-9);
}

// Share of the machine's peak that linear layers and convolutions reach, on the shapes of SD 1.5 and its VAE, one thread.
//
//   g++ -std=c++17 -O3 -ffp-contract=off -Inative bench/ops/gemm_bench.cpp native/cpu/gemm/*.cpp native/cpu/conv/*.cpp
//     native/cpu/peak/*.cpp native/cpu/cpuid.cpp native/core/thread_pool.cpp -pthread -o /tmp/gemm_bench          (one line)
//   /tmp/gemm_bench [set, avx512 if left out] [bf16] [filter]
//
// Peak is cpu/peak's: independent vector FMAs, or products of bfloat16 pairs for sets avx512bf16 and amx. Both are timed by the thread's processor
// time, in turn, best of several, so that other programs disturb little. First each result is compared with double precision at some
// points.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/bf16.h"
#include "cpu/conv/conv.h"
#include "cpu/cpuid.h"
#include "cpu/gemm/gemm.h"
#include "support.h"

using namespace asdm;
using namespace asdm::bench;

namespace {

struct Kernels {
  size_t (*packedBytes)(const WeightShape&);
  bool (*pack)(const PackArgs&);
  void (*linear)(const LinearArgs&, KernelContext&);
  size_t (*linearScratch)(const LinearArgs&, int);
  void (*conv)(const ConvArgs&, KernelContext&);
  size_t (*convScratch)(const ConvArgs&, int);
};

#define KERNELS(set, E) \
  Kernels { cpu::set::packedBytes<E>, cpu::set::pack<E>, cpu::set::linear<E>, cpu::set::linearScratch<E>, cpu::set::conv<E>, cpu::set::convScratch<E> }

// Numbers as a kernel takes them, and back.
struct Values {
  std::vector<float> floats;
  std::vector<Bf16> halves;
  Values(std::vector<float> v, bool bf16) : floats(std::move(v)) {
    if (!bf16) return;
    for (float& x : floats) {
      halves.push_back(toBf16(x));
      x = toFloat(halves.back());
    }
  }
  void* data() { return halves.empty() ? static_cast<void*>(floats.data()) : halves.data(); }
  void widen() {
    for (size_t i = 0; i < halves.size(); i++) floats[i] = toFloat(halves[i]);
  }
};

struct Case {
  const char* kind;  // "conv" or "linear"
  int64_t n, h, w;   // linear: n rows, h = w = 1
  int64_t channels, co, kernel;
};

const Case kCases[] = {
    {"conv", 2, 64, 64, 4, 320, 3},      {"conv", 2, 64, 64, 320, 320, 3},    {"conv", 2, 64, 64, 640, 320, 3},
    {"conv", 2, 64, 64, 960, 320, 3},    {"conv", 2, 64, 64, 320, 4, 3},      {"conv", 2, 32, 32, 640, 640, 3},
    {"conv", 2, 32, 32, 1280, 640, 3},   {"conv", 2, 32, 32, 1920, 640, 3},   {"conv", 2, 16, 16, 1280, 1280, 3},
    {"conv", 2, 16, 16, 2560, 1280, 3},  {"conv", 2, 8, 8, 1280, 1280, 3},    {"conv", 2, 8, 8, 2560, 1280, 3},
    {"conv", 2, 64, 64, 960, 320, 1},    {"conv", 1, 512, 512, 128, 128, 3},  {"conv", 1, 512, 512, 256, 128, 3},
    {"conv", 1, 512, 512, 128, 3, 3},    {"conv", 1, 256, 256, 256, 256, 3},  {"conv", 1, 64, 64, 512, 512, 3},
    {"linear", 8192, 1, 1, 320, 320, 1}, {"linear", 8192, 1, 1, 320, 960, 1}, {"linear", 8192, 1, 1, 320, 2560, 1},
    {"linear", 8192, 1, 1, 1280, 320, 1}, {"linear", 2048, 1, 1, 640, 640, 1}, {"linear", 2048, 1, 1, 640, 5120, 1},
    {"linear", 2048, 1, 1, 2560, 640, 1}, {"linear", 512, 1, 1, 1280, 1280, 1}, {"linear", 512, 1, 1, 1280, 10240, 1},
    {"linear", 512, 1, 1, 5120, 1280, 1}, {"linear", 154, 1, 1, 768, 320, 1}, {"linear", 154, 1, 1, 768, 1280, 1},
    {"linear", 2, 1, 1, 320, 1280, 1},   {"linear", 2, 1, 1, 1280, 1280, 1},
};

// The largest difference from double precision at 200 places, in units of the sum of absolute products.
double worst(const Case& c, const std::vector<float>& x, const std::vector<float>& weight, const std::vector<float>& y) {
  double worst = 0;
  uint32_t state = 1;
  const int64_t area = c.kernel * c.kernel, pad = c.kernel / 2;
  for (int probe = 0; probe < 200; probe++) {
    state = state * 1664525u + 1013904223u;
    const int64_t at = static_cast<int64_t>(state) % static_cast<int64_t>(y.size());
    const int64_t o = at % c.co, pixel = at / c.co;
    const int64_t px = pixel % c.w, py = pixel / c.w % c.h, sample = pixel / (c.w * c.h);
    double sum = 0, size = 0;
    for (int64_t tap = 0; tap < area; tap++) {
      const int64_t sy = py + tap / c.kernel - pad, sx = px + tap % c.kernel - pad;
      if (sy < 0 || sy >= c.h || sx < 0 || sx >= c.w) continue;
      for (int64_t i = 0; i < c.channels; i++) {
        const double product = static_cast<double>(x[static_cast<size_t>(((sample * c.h + sy) * c.w + sx) * c.channels + i)]) *
                               weight[static_cast<size_t>((o * c.channels + i) * area + tap)];
        sum += product;
        size += std::fabs(product);
      }
    }
    worst = std::max(worst, std::fabs(sum - y[static_cast<size_t>(at)]) / (size + 1e-30));
  }
  return worst;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string set = argc > 1 ? argv[1] : "avx512";
  const bool named = argc > 2 && std::strcmp(argv[2], "bf16") == 0, pairs = set == "avx512bf16" || set == "amx", bf16 = named || pairs;
  const std::string filter = argc > (named ? 3 : 2) ? argv[named ? 3 : 2] : "";
  if (set == "amx" && !cpu::detect().amxBf16) {  // asking also gets the system's leave
    std::puts("no tile registers here");
    return 1;
  }
  const Kernels kernels = set == "avx512bf16" ? KERNELS(avx512bf16, Bf16)
#if defined(ASDM_HAS_AMX)
                          : set == "amx" ? KERNELS(amx, Bf16)
#endif
                          : set == "avx512"   ? (bf16 ? KERNELS(avx512, Bf16) : KERNELS(avx512, float))
                          : set == "avx2"     ? (bf16 ? KERNELS(avx2, Bf16) : KERNELS(avx2, float))
                                              : (bf16 ? KERNELS(portable, Bf16) : KERNELS(portable, float));
  const char* const peakSet = set == "amx" ? "amx" : pairs || set == "avx512" ? "avx512" : "avx2";
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
    const WeightShape shape{c.co, c.channels, c.kernel * c.kernel};
    Values x(noise(static_cast<size_t>(rows * c.channels), 12345), bf16);
    const std::vector<float> weight = Values(noise(static_cast<size_t>(shape.n * shape.k()), 12345), bf16).floats;
    Values y(std::vector<float>(static_cast<size_t>(rows * c.co)), bf16);
    std::vector<std::byte> packedBlock, scratchBlock;
    std::byte* packed = aligned(packedBlock, kernels.packedBytes(shape));
    const double packStart = seconds();
    kernels.pack({shape, weight.data(), 0, c.co, packed});
    const double packTime = seconds() - packStart;
    const LinearArgs l{x.data(), rows, c.channels, shape, packed, nullptr, Activation::None, nullptr, c.co, y.data(), c.co};
    const ConvArgs v{x.data(), c.n, c.h, c.w, 0, 0, c.kernel, c.kernel, 1, c.kernel / 2, c.kernel / 2, c.h, c.w, shape, packed,
                     nullptr, nullptr, 0, nullptr, y.data()};
    KernelContext context{pool, aligned(scratchBlock, linear ? kernels.linearScratch(l, 1) : kernels.convScratch(v, 1))};
    const double flop = 2.0 * static_cast<double>(rows * shape.k() * c.co);
    double best = 1e9, top = 0;
    const int repeats = flop > 2e10 ? 3 : flop > 5e8 ? 7 : 25;
    for (int i = 0; i < repeats; i++) {
      if (i < 8) top = std::max(top, peak(peakSet, pairs ? DType::BF16 : DType::F32));
      const double start = seconds();
      if (linear) kernels.linear(l, context);
      else kernels.conv(v, context);
      best = std::min(best, seconds() - start);
    }
    y.widen();
    totalTime += best;
    totalFlop += flop;
    std::printf("%-34s %8.2f ms %6.1f GFLOP/s  %5.1f %% of %.1f  pack %.2f GB/s  error %.1e\n", name, best * 1e3,
                flop / best * 1e-9, 100 * flop / best * 1e-9 / top, top, 4e-9 * static_cast<double>(weight.size()) / packTime,
                worst(c, x.floats, weight, y.floats));
    std::fflush(stdout);
  }
  std::printf("all: %.1f GFLOP/s\n", totalFlop / totalTime * 1e-9);
}

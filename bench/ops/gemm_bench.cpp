// Share of the machine's peak that linear layers and convolutions reach, on the shapes of SD 1.5 and its VAE, one thread.
//
//   g++ -std=c++17 -O3 -ffp-contract=off -Inative bench/ops/gemm_bench.cpp native/cpu/gemm/*.cpp native/cpu/conv/*.cpp
//     native/core/thread_pool.cpp -pthread -o /tmp/gemm_bench          (one line)
//   /tmp/gemm_bench [set, avx512 if left out] [bf16] [filter]
//
// Peak is a loop of independent vector FMAs, or of bfloat16 products for set avx512bf16. Both are timed by the thread's processor time, in turn, best of several, so that
// other programs disturb little. First each result is compared with double precision at some points.
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <immintrin.h>

#include "core/bf16.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12's own header, its bug 105593
#endif

#include "cpu/conv/conv.h"
#include "cpu/gemm/gemm.h"

using namespace asdm;

namespace {

double seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// GFLOP/s of 24 independent chains of 512-bit (or 12 of 256-bit) FMAs.
ASDM_TARGET_BEGIN(ASDM_AVX512_FEATURES)
double peak512() {
  __m512 s[24];
  for (int i = 0; i < 24; i++) s[i] = _mm512_set1_ps(1.0f + static_cast<float>(i));
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
  const double start = seconds();
  for (int n = 0; n < 200000; n++) {
#pragma GCC unroll 24
    for (int i = 0; i < 24; i++) s[i] = _mm512_fmadd_ps(s[i], a, b);
  }
  const double taken = seconds() - start;
  volatile float sink = 0;
  for (int i = 0; i < 24; i++) sink = sink + _mm512_reduce_add_ps(s[i]);
  return 200000.0 * 24 * 32 / taken * 1e-9;
}
ASDM_TARGET_END

// GFLOP/s of 24 independent chains of 512-bit products of bfloat16 pairs.
ASDM_TARGET_BEGIN(ASDM_AVX512BF16_FEATURES)
double peakPairs() {
  __m512 s[24];
  for (int i = 0; i < 24; i++) s[i] = _mm512_set1_ps(1.0f + static_cast<float>(i));
  const __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.1f), _mm512_set1_ps(0.2f));
  const double start = seconds();
  for (int n = 0; n < 200000; n++) {
#pragma GCC unroll 24
    for (int i = 0; i < 24; i++) s[i] = _mm512_dpbf16_ps(s[i], a, a);
  }
  const double taken = seconds() - start;
  volatile float sink = 0;
  for (int i = 0; i < 24; i++) sink = sink + _mm512_reduce_add_ps(s[i]);
  return 200000.0 * 24 * 64 / taken * 1e-9;
}
ASDM_TARGET_END

ASDM_TARGET_BEGIN(ASDM_AVX2_FEATURES)
double peak256() {
  __m256 s[12];
  for (int i = 0; i < 12; i++) s[i] = _mm256_set1_ps(1.0f + static_cast<float>(i));
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  const double start = seconds();
  for (int n = 0; n < 400000; n++) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++) s[i] = _mm256_fmadd_ps(s[i], a, b);
  }
  const double taken = seconds() - start;
  volatile float sink = 0;
  for (int i = 0; i < 12; i++) sink = sink + s[i][0];
  return 400000.0 * 12 * 16 / taken * 1e-9;
}
ASDM_TARGET_END

struct Kernels {
  size_t (*packedBytes)(const WeightShape&);
  void (*pack)(const PackArgs&);
  void (*linear)(const LinearArgs&, KernelContext&);
  size_t (*linearScratch)(const LinearArgs&, int);
  void (*conv)(const ConvArgs&, KernelContext&);
  size_t (*convScratch)(const ConvArgs&, int);
};

#define KERNELS(set, E) \
  Kernels { cpu::set::packedBytes<E>, cpu::set::pack<E>, cpu::set::linear<E>, cpu::set::linearScratch<E>, cpu::set::conv<E>, cpu::set::convScratch<E> }

std::vector<float> noise(size_t count) {
  std::vector<float> v(count);
  uint32_t state = 12345;
  for (float& x : v) {
    state = state * 1664525u + 1013904223u;
    x = static_cast<float>(static_cast<int32_t>(state)) * (1.0f / 2147483648.0f);
  }
  return v;
}

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

std::byte* aligned(std::vector<std::byte>& block, size_t bytes) {
  block.resize(bytes + 64);
  return reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(block.data()) + 63) & ~uintptr_t{63});
}

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
  const bool named = argc > 2 && std::strcmp(argv[2], "bf16") == 0, bf16 = named || set == "avx512bf16";
  const std::string filter = argc > (named ? 3 : 2) ? argv[named ? 3 : 2] : "";
  const Kernels kernels = set == "avx512bf16" ? KERNELS(avx512bf16, Bf16)
                          : set == "avx512"   ? (bf16 ? KERNELS(avx512, Bf16) : KERNELS(avx512, float))
                          : set == "avx2"     ? (bf16 ? KERNELS(avx2, Bf16) : KERNELS(avx2, float))
                                              : (bf16 ? KERNELS(portable, Bf16) : KERNELS(portable, float));
  double (*const peak)() = set == "avx512bf16" ? peakPairs : set == "avx512" ? peak512 : peak256;
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
    Values x(noise(static_cast<size_t>(rows * c.channels)), bf16);
    const std::vector<float> weight = Values(noise(static_cast<size_t>(shape.n * shape.k())), bf16).floats;
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
      if (i < 8) top = std::max(top, peak());
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

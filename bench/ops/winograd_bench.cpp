// Winograd's convolution against the direct one, shape by shape, one thread; on this rests the rule in native/cpu/conv/winograd.cpp.
//
//   g++ -std=c++17 -O3 -ffp-contract=off -Inative bench/ops/winograd_bench.cpp native/cpu/gemm/*.cpp native/cpu/conv/*.cpp
//     native/core/thread_pool.cpp native/core/worker_threads.cpp -pthread -o /tmp/winograd_bench          (one line)
//   /tmp/winograd_bench [set] [fp32 | bf16] [filter]          (set avx512bf16 has bf16 only)
//
// Both are timed by the thread's CPU time, in turn, best of several. "rule" says what conv chooses; errors are root mean square
// and largest, relative to the result's root mean square, against double precision at some points.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "core/bf16.h"
#include "cpu/conv/conv.h"
#include "cpu/conv/winograd.h"
#include "cpu/gemm/gemm.h"
#include "support.h"

using namespace asdm;
using namespace asdm::bench;

namespace {

struct Kernels {
  size_t (*packedBytes)(const WeightShape&);
  bool (*pack)(const PackArgs&);
  void (*run[2])(const ConvArgs&, cpu::KernelContext&);
  size_t (*scratch[2])(const ConvArgs&, int);
};

#define KERNELS(set, E)                                                                                  \
  Kernels {                                                                                              \
    cpu::set::packedBytes<E>, cpu::set::pack<E>, {cpu::set::directConv<E>, cpu::set::winogradConv<E>}, { \
      cpu::set::directConvScratch<E>, cpu::set::winogradConvScratch<E>                                   \
    }                                                                                                    \
  }

struct Case {
  const char* where;
  int64_t n, size, channels, co;
};

const Case kCases[] = {
    {"unet", 2, 64, 320, 320},   {"unet", 2, 64, 640, 320},   {"unet", 2, 64, 960, 320},   {"unet", 2, 32, 320, 640},
    {"unet", 2, 32, 640, 640},   {"unet", 2, 64, 640, 640},   {"unet", 2, 32, 960, 640},   {"unet", 2, 32, 1280, 640},
    {"unet", 2, 32, 1920, 640},  {"unet", 2, 16, 640, 1280},  {"unet", 2, 16, 1280, 1280}, {"unet", 2, 32, 1280, 1280},
    {"unet", 2, 16, 1920, 1280}, {"unet", 2, 16, 2560, 1280}, {"unet", 2, 8, 1280, 1280},  {"unet", 2, 8, 2560, 1280},
    {"unet", 1, 8, 1280, 1280},  {"unet", 1, 16, 1280, 1280}, {"ends", 2, 64, 4, 320},     {"ends", 2, 64, 320, 4},
    {"vae", 1, 64, 4, 512},      {"vae", 1, 64, 512, 512},    {"vae", 1, 128, 512, 512},   {"vae", 1, 256, 512, 256},
    {"vae", 1, 256, 256, 256},   {"vae", 1, 512, 256, 128},   {"vae", 1, 512, 128, 128},   {"vae", 1, 512, 128, 3},
    {"small", 2, 16, 32, 32},    {"small", 2, 8, 32, 32},     {"small", 2, 4, 32, 32},     {"small", 2, 32, 16, 16},
    {"small", 2, 32, 16, 32},    {"small", 2, 32, 32, 16},    {"small", 2, 32, 64, 64},    {"small", 2, 16, 64, 64},
    {"small", 2, 8, 64, 64},     {"small", 2, 4, 64, 64},     {"small", 2, 16, 128, 128},  {"small", 2, 8, 128, 128},
    {"small", 2, 4, 128, 128},   {"small", 2, 4, 512, 512},   {"small", 2, 5, 512, 512},   {"small", 2, 6, 512, 512},
    {"small", 2, 7, 512, 512},   {"small", 1, 6, 512, 512},   {"small", 1, 4, 512, 512},   {"small", 2, 9, 512, 512},
    {"small", 2, 3, 512, 512},   {"small", 2, 32, 8, 64},     {"small", 2, 64, 64, 8},     {"small", 2, 32, 24, 24},
};

struct Error {
  double squares = 0, largest = 0, size = 0;
};

void addErrors(const Case& c, const std::vector<float>& x, const std::vector<float>& weight, const float* y, size_t count, Error* e) {
  uint32_t state = 1;
  for (int probe = 0; probe < 2000; probe++) {
    state = state * 1664525u + 1013904223u;
    const int64_t at = static_cast<int64_t>(state) % static_cast<int64_t>(count);
    const int64_t o = at % c.co, pixel = at / c.co, px = pixel % c.size, py = pixel / c.size % c.size, sample = pixel / (c.size * c.size);
    double sum = 0;
    for (int64_t tap = 0; tap < 9; tap++) {
      const int64_t sy = py + tap / 3 - 1, sx = px + tap % 3 - 1;
      if (sy < 0 || sy >= c.size || sx < 0 || sx >= c.size) continue;
      const float* from = x.data() + ((sample * c.size + sy) * c.size + sx) * c.channels;
      for (int64_t i = 0; i < c.channels; i++)
        sum += static_cast<double>(from[i]) * weight[static_cast<size_t>((o * c.channels + i) * 9 + tap)];
    }
    const double error = std::fabs(sum - y[static_cast<size_t>(at)]);
    e->squares += error * error;
    e->largest = std::max(e->largest, error);
    e->size += sum * sum;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string set = argc > 1 ? argv[1] : "avx512", dtype = argc > 2 ? argv[2] : "fp32", filter = argc > 3 ? argv[3] : "";
  const bool bf16 = dtype == "bf16";
#if defined(ASDM_X86)
  const Kernels kernels = set == "avx512bf16" ? KERNELS(avx512bf16, Bf16)
                          : set == "avx512"   ? (bf16 ? KERNELS(avx512, Bf16) : KERNELS(avx512, float))
                          : set == "avx2"     ? (bf16 ? KERNELS(avx2, Bf16) : KERNELS(avx2, float))
                                              : (bf16 ? KERNELS(portable, Bf16) : KERNELS(portable, float));
#elif defined(ASDM_ARM64)
  const Kernels kernels =
      set == "neon" ? (bf16 ? KERNELS(neon, Bf16) : KERNELS(neon, float)) : (bf16 ? KERNELS(portable, Bf16) : KERNELS(portable, float));
#else
  const Kernels kernels = bf16 ? KERNELS(portable, Bf16) : KERNELS(portable, float);
#endif
  ThreadPool pool(1);
  for (const Case& c : kCases) {
    char name[96];
    std::snprintf(name, sizeof name, "%s %lldx%lldx%lld %lld->%lld", c.where, static_cast<long long>(c.n), static_cast<long long>(c.size),
                  static_cast<long long>(c.size), static_cast<long long>(c.channels), static_cast<long long>(c.co));
    if (std::string(name).find(filter) == std::string::npos) continue;
    const WeightShape shape{c.co, c.channels, 9};
    std::vector<float> x = noise(static_cast<size_t>(c.n * c.size * c.size * c.channels), 1);
    std::vector<float> weight = noise(static_cast<size_t>(shape.n * shape.k()), 2);
    std::vector<float> y(static_cast<size_t>(c.n * c.size * c.size * c.co));
    std::vector<Bf16> halfX, halfY(y.size());
    if (bf16) {
      for (float& v : x) {
        halfX.push_back(toBf16(v));
        v = toFloat(halfX.back());
      }
      for (float& v : weight) v = toFloat(toBf16(v));
    }
    std::vector<std::byte> packedBlock, scratchBlock;
    std::byte* packed = aligned(packedBlock, kernels.packedBytes(shape));
    kernels.pack({shape, weight.data(), 0, c.co, packed});
    ConvArgs a{};
    a.x = bf16 ? static_cast<const void*>(halfX.data()) : x.data();
    a.n = c.n;
    a.h = a.w = a.outH = a.outW = c.size;
    a.kernelH = a.kernelW = 3;
    a.stride = a.padTop = a.padLeft = 1;
    a.shape = shape;
    a.weight = packed;
    a.y = bf16 ? static_cast<void*>(halfY.data()) : y.data();
    const double macs = static_cast<double>(c.n * c.size * c.size * shape.k() * c.co);
    const int repeats = macs > 1e10 ? 3 : macs > 1e9 ? 5 : macs > 1e7 ? 40 : 400;
    double best[2] = {1e9, 1e9};
    Error error[2];
    size_t scratch[2];
    for (int i = 0; i < repeats; i++)
      for (int kind = 0; kind < 2; kind++) {
        scratch[kind] = kernels.scratch[kind](a, 1);
        cpu::KernelContext context{pool, aligned(scratchBlock, scratch[kind])};
        const double start = seconds();
        kernels.run[kind](a, context);
        best[kind] = std::min(best[kind], seconds() - start);
        if (i > 0) continue;
        if (bf16)
          for (size_t at = 0; at < y.size(); at++) y[at] = toFloat(halfY[at]);
        addErrors(c, x, weight, y.data(), y.size(), &error[kind]);
      }
    std::printf("%-28s direct %9.3f ms  winograd %9.3f ms  ratio %.3f  rule %-8s  scratch %5.2f MB ", name, best[0] * 1e3, best[1] * 1e3,
                best[1] / best[0], cpu::usesWinograd(a, set == "avx512bf16" ? 2 : 1) ? "winograd" : "direct",
                static_cast<double>(scratch[1]) * 1e-6);
    for (const Error& e : error) std::printf(" error %.1e (max %.1e)", std::sqrt(e.squares / e.size), e.largest / std::sqrt(e.size / 2000));
    std::printf("\n");
    std::fflush(stdout);
  }
}

// A conditional convolution of four experts against the plain one of the same shape, at Stable Diffusion 1.5's shapes with guidance.
//
//   g++ -std=c++17 -O3 -ffp-contract=off -Inative bench/ops/cond_conv_bench.cpp native/cpu/gemm/*.cpp native/cpu/conv/*.cpp
//     native/cpu/peak/*.cpp native/cpu/cpuid.cpp native/core/memory.cpp native/core/thread_pool.cpp native/core/worker_threads.cpp -pthread -o /tmp/cond_conv_bench          (one line)
//   /tmp/cond_conv_bench [set] [fp32 | bf16] [threads] [filter] [plain | conditional]          (set avx512bf16 has bf16 only)
//
// Wall-clock time, both in turn, medians, on a machine that does nothing else. Each result is first compared with double
// precision at some points. "alike": both samples get the same rates, so that one mixture serves them.
//
// "bound" is what the ratio would be if memory were all that the experts cost: the plain convolution's time and that of the bytes which
// the conditional one has to read beyond the plain one's (the other experts' kernels once, and the input once more for its mean), at the
// memory's measured rate, over the plain time. Reading that overlaps with arithmetic, or hits the cache, can stay below it.
//
// Two Zen 4 cores, four experts, a batch of two (ratio / bound; one thread reads 28 to 32 GB/s, both 34):
//                      fp32, one thread   fp32, two          bf16, one          bf16, two
//   64x64 3x3          1.05-1.07 / 1.02   1.03-1.07 / 1.03   1.00-1.03 / 1.01   1.00-1.06 / 1.02
//   32x32 3x3          1.03-1.06 / 1.04   1.06-1.09 / 1.07   1.03-1.05 / 1.02   1.05-1.06 / 1.04
//   16x16 3x3          1.29 / 1.16        1.25-1.31 / 1.24   1.29-1.32 / 1.07   1.27-1.28 / 1.12
//   8x8 3x3            1.91-1.93 / 1.50   1.95 / 1.78        1.90-1.94 / 1.24   1.96 / 1.37
//   64x64, 32x32 1x1   1.05 / 1.03        1.06 / 1.04        1.05-1.08 / 1.02   1.05-1.07 / 1.04
//   16x16 1x1          1.07 / 1.05        1.15 / 1.08        1.10 / 1.05        1.14 / 1.09
// On maps of 64x64 and 32x32 it is about the twentieth that was aimed at: in float a little more, of which the input's mean takes one to two
// hundredths of the time and mixing three. On 32x32 in float it is bound by memory. On 16x16 and less
// it cannot be a twentieth: the other three experts alone take a sixth of the time (16x16) or half (8x8) to be read, and where samples
// differ Winograd's transform of the weights, which a plain batch shares, is done for each of them: another sixth on 16x16 ("alike" is
// without it). With one sample, or equal rates, that part is not there.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/bf16.h"
#include "core/memory.h"
#include "cpu/conv/conv.h"
#include "cpu/conv/winograd.h"
#include "cpu/gemm/gemm.h"
#include "support.h"

using namespace asdm;
using namespace asdm::bench;

namespace {

constexpr int64_t kExperts = 4;

struct Kernels {
  size_t (*packedBytes)(const WeightShape&);
  bool (*pack)(const PackArgs&);
  void (*conv)(const ConvArgs&, cpu::KernelContext&);
  size_t (*convScratch)(const ConvArgs&, int);
  void (*condConv)(const CondConvArgs&, cpu::KernelContext&);
  size_t (*condConvScratch)(const CondConvArgs&, int);
};

#define KERNELS(set, E)                                                                                              \
  Kernels {                                                                                                          \
    cpu::set::packedBytes<E>, cpu::set::pack<E>, cpu::set::conv<E>, cpu::set::convScratch<E>, cpu::set::condConv<E>, \
        cpu::set::condConvScratch<E>                                                                                 \
  }

struct Case {
  int64_t size, channels, co, kernel;
};

const Case kCases[] = {{64, 320, 320, 3},  {64, 640, 320, 3},   {64, 960, 320, 3},   {32, 640, 640, 3},  {32, 1280, 640, 3},
                       {32, 1920, 640, 3}, {16, 1280, 1280, 3}, {16, 2560, 1280, 3}, {8, 1280, 1280, 3}, {8, 2560, 1280, 3},
                       {64, 640, 320, 1},  {32, 1280, 640, 1},  {16, 2560, 1280, 1}};
constexpr int64_t kBatch = 2;

struct Problem {
  Case c;
  std::vector<float> x, weight, bias, routerWeight, routerBias;
};

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Bytes a second that the pool's threads read of a block much larger than any cache.
double readingRate(ThreadPool& pool) {
  constexpr int64_t kPieces = 512, kWords = int64_t{1} << 17;
  Block block;
  if (!block.allocate(static_cast<size_t>(kPieces * kWords) * sizeof(uint64_t))) return 0;
  std::memset(block.data(), 1, block.bytes());
  std::vector<uint64_t> sums(kPieces);
  double least = 1e9;
  for (int i = 0; i < 4; i++) {
    const double start = now();
    pool.run(kPieces, [&](int64_t piece, int) {
      const uint64_t* const from = reinterpret_cast<const uint64_t*>(block.data()) + piece * kWords;
      uint64_t sum[16] = {};
      for (int64_t k = 0; k < kWords; k += 16) {
        __builtin_prefetch(from + k + 512);
        __builtin_prefetch(from + k + 520);
        for (int j = 0; j < 16; j++) sum[j] += from[k + j];
      }
      for (uint64_t part : sum) sums[static_cast<size_t>(piece)] += part;
    });
    least = std::min(least, now() - start);
  }
  uint64_t all = 0;
  for (uint64_t sum : sums) all += sum;
  return all > 0 ? static_cast<double>(kPieces * kWords * 8) / least : 0;
}

// Root mean square error at some points, relative to the result's.
double errorOf(const Problem& p, const std::vector<float>& y) {
  const Case& c = p.c;
  const int64_t pixels = c.size * c.size, area = c.kernel * c.kernel, pad = c.kernel / 2;
  double rates[kBatch][kExperts];
  for (int64_t n = 0; n < kBatch; n++)
    for (int64_t e = 0; e < kExperts; e++) {
      double z = p.routerBias[static_cast<size_t>(e)];
      for (int64_t i = 0; i < c.channels; i++) {
        double mean = 0;
        for (int64_t at = 0; at < pixels; at++) mean += p.x[static_cast<size_t>((n * pixels + at) * c.channels + i)];
        z += mean / static_cast<double>(pixels) * p.routerWeight[static_cast<size_t>(e * c.channels + i)];
      }
      rates[n][e] = 1 / (1 + std::exp(-z));
    }
  double squares = 0, size = 0;
  uint32_t state = 1;
  for (int probe = 0; probe < 300; probe++) {
    state = state * 1664525u + 1013904223u;
    const int64_t at = static_cast<int64_t>(state) % static_cast<int64_t>(y.size());
    const int64_t o = at % c.co, pixel = at / c.co, px = pixel % c.size, py = pixel / c.size % c.size, n = pixel / pixels;
    double sum = 0;
    for (int64_t e = 0; e < kExperts; e++) {
      double one = p.bias[static_cast<size_t>(e * c.co + o)];
      for (int64_t tap = 0; tap < area; tap++) {
        const int64_t sy = py + tap / c.kernel - pad, sx = px + tap % c.kernel - pad;
        if (sy < 0 || sy >= c.size || sx < 0 || sx >= c.size) continue;
        const float* from = p.x.data() + ((n * c.size + sy) * c.size + sx) * c.channels;
        for (int64_t i = 0; i < c.channels; i++)
          one += static_cast<double>(from[i]) * p.weight[static_cast<size_t>(((e * c.co + o) * c.channels + i) * area + tap)];
      }
      sum += rates[n][e] * one;
    }
    squares += (sum - y[static_cast<size_t>(at)]) * (sum - y[static_cast<size_t>(at)]);
    size += sum * sum;
  }
  return std::sqrt(squares / size);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string set = argc > 1 ? argv[1] : "avx512", dtype = argc > 2 ? argv[2] : "fp32", filter = argc > 4 ? argv[4] : "",
                    only = argc > 5 ? argv[5] : "";
  const int threads = argc > 3 ? std::atoi(argv[3]) : 1;
  const bool bf16 = dtype == "bf16";
  const Kernels kernels = set == "avx512bf16" ? KERNELS(avx512bf16, Bf16)
                          : set == "avx512"   ? (bf16 ? KERNELS(avx512, Bf16) : KERNELS(avx512, float))
                          : set == "avx2"     ? (bf16 ? KERNELS(avx2, Bf16) : KERNELS(avx2, float))
                                              : (bf16 ? KERNELS(portable, Bf16) : KERNELS(portable, float));
  ThreadPool pool(threads);
  const double rate = readingRate(pool);
  std::printf("%s %s, threads: %d, memory read at %.1f GB/s\n", set.c_str(), dtype.c_str(), threads, rate * 1e-9);
  for (const Case& c : kCases) {
    char name[96];
    std::snprintf(name, sizeof name, "%lldx%lldx%lldx%lld->%lld %lldx%lld", static_cast<long long>(kBatch), static_cast<long long>(c.size),
                  static_cast<long long>(c.size), static_cast<long long>(c.channels), static_cast<long long>(c.co),
                  static_cast<long long>(c.kernel), static_cast<long long>(c.kernel));
    if (std::string(name).find(filter) == std::string::npos) continue;
    const WeightShape shape{c.co, c.channels, c.kernel * c.kernel};
    const size_t each = static_cast<size_t>(shape.n * shape.k()), values = static_cast<size_t>(kBatch * c.size * c.size);
    Problem p{c,
              noise(values * static_cast<size_t>(c.channels), 1),
              noise(kExperts * each, 2),
              noise(static_cast<size_t>(kExperts * c.co), 3),
              noise(static_cast<size_t>(kExperts * c.channels), 4),
              noise(kExperts, 5)};
    // The samples' means differ, and with them their rates.
    for (size_t i = 0; i < p.x.size() / 2; i++) p.x[i] += 0.05f;
    std::vector<float> y(values * static_cast<size_t>(c.co));
    std::vector<Bf16> halfX, halfY(bf16 ? y.size() : 0);
    if (bf16) {
      for (float& v : p.x) {
        halfX.push_back(toBf16(v));
        v = toFloat(halfX.back());
      }
      for (float& v : p.weight) v = toFloat(toBf16(v));
    }
    const size_t bytes = kernels.packedBytes(shape), distance = expertBytes(bytes);
    // Blocks as models have them.
    Block packedBlock, scratchBlock, xBlock, yBlock;
    const size_t element = bf16 ? 2 : 4;
    if (!packedBlock.allocate(kExperts * distance) || !xBlock.allocate(p.x.size() * element) || !yBlock.allocate(y.size() * element))
      return 1;
    std::byte* const packed = packedBlock.data();
    std::memcpy(xBlock.data(), bf16 ? static_cast<const void*>(halfX.data()) : p.x.data(), p.x.size() * element);
    for (int64_t e = 0; e < kExperts; e++)
      kernels.pack({shape, p.weight.data() + static_cast<size_t>(e) * each, 0, c.co, packed + static_cast<size_t>(e) * distance});
    ConvArgs a{};
    a.x = xBlock.data();
    a.n = kBatch;
    a.h = a.w = a.outH = a.outW = c.size;
    a.kernelH = a.kernelW = c.kernel;
    a.stride = 1;
    a.padTop = a.padLeft = c.kernel / 2;
    a.shape = shape;
    a.weight = packed;
    a.bias = p.bias.data();
    a.y = yBlock.data();
    const std::vector<float> none(p.routerWeight.size());
    const CondConvArgs kinds[] = {{a, kExperts, Routing::Sigmoid, p.routerWeight.data(), p.routerBias.data()},
                                  {a, kExperts, Routing::Sigmoid, none.data(), p.routerBias.data()}};
    const size_t scratch =
        std::max({kernels.convScratch(a, threads), kernels.condConvScratch(kinds[0], threads), kernels.condConvScratch(kinds[1], threads)});
    if (!scratchBlock.allocate(scratch)) return 1;
    cpu::KernelContext context{pool, scratchBlock.data()};
    kernels.condConv(kinds[0], context);
    if (bf16) std::memcpy(halfY.data(), yBlock.data(), halfY.size() * element);
    else std::memcpy(y.data(), yBlock.data(), y.size() * element);
    for (size_t i = 0; i < halfY.size(); i++) y[i] = toFloat(halfY[i]);
    const double error = errorOf(p, y);
    if (!(error < (bf16 ? 1e-2 : 5e-6))) {
      std::printf("%s: wrong, off by %.1e\n", name, error);
      return 1;
    }
    // Ratios are taken within a round, whose three calls follow each other, and are medians: the machine's speed drifts.
    constexpr int kRounds = 21;
    std::vector<double> times[3], ratios[3];
    for (int i = 0; i < kRounds; i++)
      for (int kind = 0; kind < 3; kind++) {
        if ((only == "plain" && kind != 0) || (only == "conditional" && kind != 1)) continue;
        const double start = now();
        if (kind == 0) kernels.conv(a, context);
        else kernels.condConv(kinds[kind - 1], context);
        times[kind].push_back(now() - start);
        if (kind > 0 && only.empty()) ratios[kind].push_back(times[kind].back() / times[0].back());
      }
    const double plain = median(times[0]);
    const double beyond = static_cast<double>((kExperts - 1) * bytes) + static_cast<double>(p.x.size() * element);
    std::printf(
        "%-24s %-8s plain %8.3f ms  conditional %8.3f ms  ratio %.3f  bound %.3f  alike %.3f  reads %6.1f + %6.1f MB  scratch %5.1f MB  "
        "error %.1e\n",
        name, cpu::usesWinograd(a, set == "avx512bf16" ? 2 : 1) ? "winograd" : "direct", plain * 1e3, median(times[1]) * 1e3,
        median(ratios[1]), plain > 0 ? 1 + beyond / rate / plain : 0.0, median(ratios[2]), static_cast<double>(bytes) * 1e-6, beyond * 1e-6,
        static_cast<double>(scratch) * 1e-6, error);
    std::fflush(stdout);
  }
}

// Share of the machine's peak that linear layers and convolutions reach, on the shapes of SD 1.5 and its VAE, one thread.
//
//   g++ -std=c++17 -O3 -ffp-contract=off -Inative bench/ops/gemm_bench.cpp native/cpu/*.cpp native/cpu/*/*.cpp native/core/*.cpp
//     native/backend/*.cpp -pthread -o /tmp/gemm_bench          (one line)
//   /tmp/gemm_bench [set, auto if left out] [fp32, bf16 or int8; fp32 if left out] [filter]
//
// Peak is cpu/peak's: independent multiply-accumulates of the set in the format, in float where it has none for that. Both are timed by the
// thread's CPU time, in turn, best of several, so that other programs disturb little. In int8 a call's time includes quantising its
// activations. First each result is compared with double precision at some places; the error is the largest, in units of the sum of
// absolute products, and the root of the mean square, relative to that of the true values.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "core/bf16.h"
#include "cpu/device.h"
#include "cpu/registry.h"
#include "support.h"

using namespace asdm;
using namespace asdm::bench;

namespace {

struct Case {
  const char* kind;  // "conv" or "linear"
  int64_t n, h, w;  // linear: n rows, h = w = 1
  int64_t channels, co, kernel;
};

const Case kCases[] = {
    {"conv", 2, 64, 64, 4, 320, 3},        {"conv", 2, 64, 64, 320, 320, 3},     {"conv", 2, 64, 64, 640, 320, 3},
    {"conv", 2, 64, 64, 960, 320, 3},      {"conv", 2, 64, 64, 320, 4, 3},       {"conv", 2, 32, 32, 640, 640, 3},
    {"conv", 2, 32, 32, 1280, 640, 3},     {"conv", 2, 32, 32, 1920, 640, 3},    {"conv", 2, 16, 16, 1280, 1280, 3},
    {"conv", 2, 16, 16, 2560, 1280, 3},    {"conv", 2, 8, 8, 1280, 1280, 3},     {"conv", 2, 8, 8, 2560, 1280, 3},
    {"conv", 2, 64, 64, 960, 320, 1},      {"conv", 1, 512, 512, 128, 128, 3},   {"conv", 1, 512, 512, 256, 128, 3},
    {"conv", 1, 512, 512, 128, 3, 3},      {"conv", 1, 256, 256, 256, 256, 3},   {"conv", 1, 64, 64, 512, 512, 3},
    {"linear", 8192, 1, 1, 320, 320, 1},   {"linear", 8192, 1, 1, 320, 960, 1},  {"linear", 8192, 1, 1, 320, 2560, 1},
    {"linear", 8192, 1, 1, 960, 320, 1},   {"linear", 8192, 1, 1, 1280, 320, 1}, {"linear", 2048, 1, 1, 640, 640, 1},
    {"linear", 2048, 1, 1, 640, 5120, 1},  {"linear", 2048, 1, 1, 2560, 640, 1}, {"linear", 512, 1, 1, 1280, 1280, 1},
    {"linear", 512, 1, 1, 1280, 10240, 1}, {"linear", 512, 1, 1, 5120, 1280, 1}, {"linear", 154, 1, 1, 768, 320, 1},
    {"linear", 154, 1, 1, 768, 1280, 1},   {"linear", 2, 1, 1, 320, 1280, 1},    {"linear", 2, 1, 1, 1280, 1280, 1},
};

// The difference from double precision at 200 places.
struct Error {
  double largest = 0, squares = 0, size = 1e-30;
  double relative() const { return std::sqrt(squares / size); }
};

Error errorOf(const Case& c, const std::vector<float>& x, const std::vector<float>& weight, const std::vector<float>& y) {
  Error error;
  uint32_t state = 1;
  const int64_t area = c.kernel * c.kernel, pad = c.kernel / 2;
  for (int probe = 0; probe < 200; probe++) {
    state = state * 1664525u + 1013904223u;
    const int64_t at = static_cast<int64_t>(state) % static_cast<int64_t>(y.size());
    const int64_t o = at % c.co, pixel = at / c.co;
    const int64_t px = pixel % c.w, py = pixel / c.w % c.h, sample = pixel / (c.w * c.h);
    double sum = 0, size = 1e-30;
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
    const double difference = std::fabs(sum - y[static_cast<size_t>(at)]);
    error.largest = std::max(error.largest, difference / size);
    error.squares += difference * difference;
    error.size += sum * sum;
  }
  return error;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string set = argc > 1 ? argv[1] : "auto", format = argc > 2 ? argv[2] : "fp32", filter = argc > 3 ? argv[3] : "";
  const DType dtype = format == "int8" ? DType::I8 : format == "bf16" ? DType::BF16 : DType::F32;
  const KernelTable* table = nullptr;
  if (!cpu::kernels(set, dtype, &table).ok()) {
    std::fprintf(stderr, "Expected a kernel set that this machine can run but received %s\n", set.c_str());
    return 1;
  }
  const bool half = table->activations == DType::BF16;
  // Numbers as the activations hold them.
  const auto rounded = [&](std::vector<float> v) {
    for (float& x : v) x = half ? toFloat(toBf16(x)) : x;
    return v;
  };
  ThreadPool pool(1);
  cpu::CpuQueue queue(pool);
  double totalTime = 0, totalFlop = 0;
  for (const Case& c : kCases) {
    const bool linear = std::strcmp(c.kind, "linear") == 0;
    const int64_t rows = c.n * c.h * c.w;
    char name[96];
    std::snprintf(name, sizeof name, "%s %lldx%lldx%lld %lld->%lld k%lld", c.kind, static_cast<long long>(c.n), static_cast<long long>(c.h),
                  static_cast<long long>(c.w), static_cast<long long>(c.channels), static_cast<long long>(c.co),
                  static_cast<long long>(c.kernel));
    if (std::string(name).find(filter) == std::string::npos) continue;
    const WeightShape shape{c.co, c.channels, c.kernel * c.kernel, dtype == DType::I8 ? WeightFormat::I8 : WeightFormat::Native};
    const std::vector<float> x = rounded(noise(static_cast<size_t>(rows * c.channels), 1));
    const std::vector<float> weight = rounded(noise(static_cast<size_t>(shape.n * shape.k()), 2));
    const int64_t bytes = dtypeBytes(table->activations), results = rows * c.co;
    std::vector<std::byte> xBlock, yBlock, packedBlock, scratchBlock;
    std::byte* const left = aligned(xBlock, x.size() * static_cast<size_t>(bytes));
    std::byte* const y = aligned(yBlock, static_cast<size_t>(results * bytes));
    std::byte* const packed = aligned(packedBlock, table->packedBytes(shape));
    table->copyNumbers({DType::F32, x.data(), rows * c.channels, table->activations, left}, queue);
    const double packStart = seconds();
    table->pack({shape, weight.data(), 0, c.co, packed}, queue);
    const double packTime = seconds() - packStart;
    const LinearArgs l{left, rows, c.channels, shape, packed, nullptr, Activation::None, nullptr, c.co, y, c.co};
    const ConvArgs v{left,         c.n, c.h, c.w,   0,      0,       c.kernel, c.kernel, 1,       c.kernel / 2,
                     c.kernel / 2, c.h, c.w, shape, packed, nullptr, nullptr,  0,        nullptr, y};
    queue.setScratch(aligned(scratchBlock, linear ? table->linear.scratch(l, 1) : table->conv.scratch(v, 1)));
    const double flop = 2.0 * static_cast<double>(rows * shape.k() * c.co);
    double best = 1e9, top = 0;
    const int repeats = flop > 2e10 ? 5 : flop > 5e8 ? 9 : 25;
    for (int i = 0; i < repeats; i++) {
      if (i < 8) top = std::max(top, peak(table->name, dtype));
      const double start = seconds();
      if (linear) table->linear.run(l, queue);
      else table->conv.run(v, queue);
      best = std::min(best, seconds() - start);
    }
    std::vector<float> wide(static_cast<size_t>(results));
    table->copyNumbers({table->activations, y, results, DType::F32, wide.data()}, queue);
    const Error error = errorOf(c, x, weight, wide);
    totalTime += best;
    totalFlop += flop;
    std::printf("%-34s %8.2f ms %6.1f GOP/s  %5.1f %% of %.1f  pack %.2f GB/s  error %.1e, %.1e\n", name, best * 1e3, flop / best * 1e-9,
                100 * flop / best * 1e-9 / top, top, 4e-9 * static_cast<double>(weight.size()) / packTime, error.largest, error.relative());
    std::fflush(stdout);
  }
  std::printf("all: %.1f GOP/s\n", totalFlop / totalTime * 1e-9);
}

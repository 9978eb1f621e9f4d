// What it saves to gate in a product's epilogue (LinearArgs::gated): the feed-forward layers of SD 1.5, fused against a product and geglu.
//
//   g++ -std=c++17 -O3 -ffp-contract=off -Inative bench/ops/gated_bench.cpp native/cpu/*.cpp native/cpu/*/*.cpp native/core/*.cpp
//     native/backend/*.cpp -pthread -o /tmp/gated_bench          (one line)
//   /tmp/gated_bench [set, auto if left out] [threads, 1 if left out] [fp32, bf16 or int8, all if left out]
//
// Both ways in turn, best of several, by wall-clock time.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
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
  int64_t tokens, width;
};
const Case kCases[] = {{8192, 320}, {2048, 640}, {512, 1280}, {128, 1280}};

// Times of one layer, in milliseconds: fused, product, geglu.
struct Times {
  double fused = 1e9, product = 1e9, geglu = 1e9;
};

Times measure(const KernelTable& table, WeightFormat format, const Case& c, ThreadPool& pool) {
  cpu::CpuQueue queue(pool);
  const WeightShape shape{8 * c.width, c.width, 1, format};
  const int64_t inner = 4 * c.width, bytes = dtypeBytes(table.activations);
  std::vector<std::byte> xBlock, yBlock, zBlock, packedBlock, scratchBlock;
  std::byte* const x = aligned(xBlock, static_cast<size_t>(c.tokens * c.width * bytes));
  std::byte* const y = aligned(yBlock, static_cast<size_t>(c.tokens * shape.n * bytes));
  std::byte* const z = aligned(zBlock, static_cast<size_t>(c.tokens * inner * bytes));
  std::byte* const packed = aligned(packedBlock, table.packedBytes(shape));
  const std::vector<float> numbers = noise(static_cast<size_t>(c.tokens * c.width), 1);
  table.copyNumbers({DType::F32, numbers.data(), c.tokens * c.width, table.activations, x}, queue);
  const std::vector<float> weight = noise(static_cast<size_t>(shape.n * shape.k()), 2), bias = noise(static_cast<size_t>(shape.n), 3);
  table.pack({shape, weight.data(), 0, shape.n, packed}, queue);
  const LinearArgs plain{x, c.tokens, c.width, shape, packed, bias.data(), Activation::None, nullptr, 0, y, shape.n};
  LinearArgs fused = plain;
  fused.activation = Activation::Gelu;
  fused.gated = true;
  fused.y = z;
  fused.ldy = inner;
  queue.setScratch(
      aligned(scratchBlock, std::max(table.linear.scratch(plain, pool.threads()), table.linear.scratch(fused, pool.threads()))));
  Times times;
  const auto time = [](double* best, const auto& run) {
    const auto start = std::chrono::steady_clock::now();
    run();
    *best = std::min(*best, 1e3 * std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  };
  for (int i = 0; i < 15; i++) {
    time(&times.fused, [&] { table.linear.run(fused, queue); });
    time(&times.product, [&] { table.linear.run(plain, queue); });
    time(&times.geglu, [&] { table.geglu.run({y, c.tokens, inner, z}, queue); });
  }
  return times;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string set = argc > 1 ? argv[1] : "auto", only = argc > 3 ? argv[3] : "";
  ThreadPool pool(argc > 2 ? std::atoi(argv[2]) : 1);
  for (const DType dtype : {DType::F32, DType::BF16, DType::I8}) {
    const char* const name = dtype == DType::F32 ? "fp32" : dtype == DType::BF16 ? "bf16" : "int8";
    if (!only.empty() && only != name) continue;
    const KernelTable* table = nullptr;
    if (!cpu::kernels(set, dtype, &table).ok()) {
      std::fprintf(stderr, "Expected a kernel set that this machine can run but received %s\n", set.c_str());
      return 1;
    }
    for (const Case& c : kCases) {
      const Times t = measure(*table, dtype == DType::I8 ? WeightFormat::I8 : WeightFormat::Native, c, pool);
      std::printf("%-10s %s  %4lld x %4lld  product %8.3f + geglu %7.3f = %8.3f ms  fused %8.3f ms  %.3f of it\n", table->name, name,
                  static_cast<long long>(c.tokens), static_cast<long long>(c.width), t.product, t.geglu, t.product + t.geglu, t.fused,
                  t.fused / (t.product + t.geglu));
      std::fflush(stdout);
    }
  }
}

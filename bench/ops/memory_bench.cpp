// The ops that are bound by memory or by a little arithmetic per element, at the sizes of an SD 1.5 UNet (batch 2, 64x64 latents), in
// float and bfloat16, beside a plain copy of as many bytes. Compile from the repository's root and run:
//   g++ -std=c++17 -O3 -ffp-contract=off -fno-math-errno -Inative bench/ops/memory_bench.cpp native/core/thread_pool.cpp native/core/worker_threads.cpp
//     native/cpu/{norm,elementwise}/{portable,avx2,avx512,avx512bf16}.cpp native/cpu/elementwise/copies.cpp -pthread
//     -o build/memory_bench && build/memory_bench
// One thread, thread CPU time, best of several runs. "x copy" is how many times longer than memcpy of the op's output and as much
// again for what it reads beyond it; "a pass" is the time of all such calls in one UNet pass.
#include "cpu/elementwise/elementwise.h"
#include "cpu/norm/norm.h"

#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "support.h"

using namespace asdm;
using namespace asdm::bench;

struct Buffers {
  explicit Buffers(size_t bytes) : a(bytes), b(bytes), y(2 * bytes), scratch(1 << 22), floats(8192, 0.5f) {}
  std::vector<std::byte> a, b, y, scratch;
  std::vector<float> floats;
};

template <class E>
static void fill(std::vector<std::byte>& bytes) {
  E* out = reinterpret_cast<E*>(bytes.data());
  uint32_t state = 1;
  for (size_t i = 0; i < bytes.size() / sizeof(E); i++) {
    state = state * 1664525u + 1013904223u;
    const float value = static_cast<float>(state >> 8) / 8388608.0f - 1.0f;
    if constexpr (sizeof(E) == 4) {
      out[i] = 3.0f * value;
    } else {
      out[i] = toBf16(3.0f * value);
    }
  }
}

// elements: read and written; a pass has `count` such calls.
template <class E>
static double report(const char* set, const char* name, int count, int64_t elements, Buffers& m, const std::function<void()>& op) {
  const size_t bytes = static_cast<size_t>(elements) * sizeof(E) / 2;
  const double copy = best(12, [&] { std::memcpy(m.y.data(), m.a.data(), bytes < m.a.size() ? bytes : m.a.size()); });
  const double took = best(12, op);
  std::printf("%-10s %s %-34s %8.3f ms  %5.2f x copy  %7.2f ms a pass\n", set, sizeof(E) == 4 ? "fp32" : "bf16", name, took * 1e3,
              took / copy, took * 1e3 * count);
  return took * count;
}

#define ASDM_BENCH(set, E)                                                                                                          \
  {                                                                                                                                 \
    Buffers m(static_cast<size_t>(2 * 131072 * 128) * sizeof(E));                                                                   \
    fill<E>(m.a);                                                                                                                   \
    fill<E>(m.b);                                                                                                                   \
    cpu::KernelContext context{pool, m.scratch.data()};                                                                             \
    const float* f = m.floats.data();                                                                                               \
    double norms = 0, layers = 0, gates = 0, joins = 0;                                                                             \
    for (const auto& s : groups) {                                                                                                  \
      std::snprintf(name, sizeof name, "group norm + SiLU [2, %d, %d]", s[0], s[1]);                                                \
      norms += report<E>(#set, name, s[2], 4L * s[0] * s[1], m,                                                                     \
                         [&] { cpu::set::groupNorm<E>({m.a.data(), 2, s[0], s[1], 32, 1e-5f, f, f, true, m.y.data()}, context); }); \
    }                                                                                                                               \
    for (const auto& s : sequences) {                                                                                               \
      std::snprintf(name, sizeof name, "layer norm [%d, %d]", 2 * s[0], s[1]);                                                      \
      layers += report<E>(#set, name, s[2], 4L * s[0] * s[1], m,                                                                    \
                          [&] { cpu::set::layerNorm<E>({m.a.data(), 2 * s[0], s[1], 1e-5f, f, f, m.y.data()}, context); });         \
      std::snprintf(name, sizeof name, "geglu [%d, %d]", 2 * s[0], 4 * s[1]);                                                       \
      gates += report<E>(#set, name, s[2] / 3, 24L * s[0] * s[1], m,                                                                \
                         [&] { cpu::set::geglu<E>({m.a.data(), 2 * s[0], 4 * s[1], m.y.data()}, context); });                       \
    }                                                                                                                               \
    for (const auto& s : concats) {                                                                                                 \
      std::snprintf(name, sizeof name, "concat [%d, %d + %d]", 2 * s[0], s[1], s[2]);                                               \
      joins += report<E>(#set, name, s[3], 4L * s[0] * (s[1] + s[2]), m,                                                            \
                         [&] { cpu::concat<E>({m.a.data(), m.b.data(), 2 * s[0], s[1], s[2], m.y.data()}, context); });             \
    }                                                                                                                               \
    report<E>(#set, "add [8192, 320]", 1, 3L * 8192 * 320, m,                                                                       \
              [&] { cpu::set::add<E>({m.a.data(), m.b.data(), 8192 * 320, m.y.data()}, context); });                                \
    report<E>(#set, "to channels last [2, 4, 4096]", 1, 2L * 2 * 4 * 4096, m,                                                       \
              [&] { cpu::toChannelsLast<E>({m.floats.data(), 1, 2, 4096, m.y.data()}, context); });                                 \
    std::printf("%-10s %s a pass: group norm %.1f, layer norm %.1f, geglu %.1f, concat %.1f ms\n\n", #set,                          \
                sizeof(E) == 4 ? "fp32" : "bf16", norms * 1e3, layers * 1e3, gates * 1e3, joins * 1e3);                             \
  }

int main(int argc, char** argv) {
  // rows, channels, calls in a pass
  const int groups[][3] = {
      {4096, 320, 13}, {4096, 640, 2}, {4096, 960, 1}, {1024, 640, 11}, {1024, 1280, 1}, {1024, 1920, 1},
      {256, 1280, 11}, {256, 2560, 2}, {64, 1280, 12}, {64, 2560, 3},   {131072, 128, 0}};  // the last as large as a decoder's
  const int sequences[][3] = {{4096, 320, 15}, {1024, 640, 15}, {256, 1280, 15}, {64, 1280, 3}};
  const int concats[][4] = {{4096, 640, 320, 1}, {4096, 320, 320, 2}, {1024, 1280, 640, 1}, {1024, 640, 640, 1}, {256, 1280, 1280, 2}};
  ThreadPool pool(1);
  char name[64];
  const std::string wanted = argc > 1 ? argv[1] : "avx512bf16";
  if (wanted == "avx512bf16") ASDM_BENCH(avx512bf16, Bf16)
  if (wanted == "avx512" || wanted == "avx512bf16") ASDM_BENCH(avx512, float)
  if (wanted == "avx512") ASDM_BENCH(avx512, Bf16)
  if (wanted == "avx2") ASDM_BENCH(avx2, float)
  if (wanted == "avx2") ASDM_BENCH(avx2, Bf16)
  return 0;
}

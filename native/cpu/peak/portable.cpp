#include "cpu/peak/peak.h"

namespace asdm::cpu::portable {

namespace {

constexpr int kLanes = 32;

// Multiplications and additions, which compilers turn into the vectors that every CPU of the architecture has.
void chains(int64_t rounds) noexcept {
  volatile float seed = 0.999f;
  const float a = seed, b = 1.0f - a;
  float s[kLanes];
  for (int i = 0; i < kLanes; i++) s[i] = static_cast<float>(i);
  for (int64_t n = 0; n < rounds; n++)
    for (int i = 0; i < kLanes; i++) s[i] = s[i] * a + b;
  float sum = 0;
  for (float x : s) sum += x;
  seed = sum;
}

}  // namespace

PeakKernel peak(DType dtype) {
  if (dtype != DType::F32) return {};
  return {chains, kLanes};
}

}  // namespace asdm::cpu::portable

#include "cpu/measure.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <system_error>

#include "core/memory.h"
#include "core/thread_pool.h"
#include "cpu/device.h"
#include "cpu/peak/peak.h"
#include "cpu/registry.h"

namespace asdm::cpu {

namespace {

using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The highest rate of `work` (in any unit, for one repeat on all threads) among slices of about 2 ms: what disturbs a slice slows it, and
// so does being short, since threads have to start. body(repeats) is one thread's share.
template <class Body>
double bestRate(int threads, int ms, double work, const Body& body) {
  constexpr int kFewestSlices = 6;
  ThreadPool pool(threads);
  const Clock::time_point begin = Clock::now();
  double best = 0;
  int64_t repeats = 1;
  for (int slices = 0; slices < kFewestSlices || secondsSince(begin) * 1e3 < ms;) {
    const Clock::time_point start = Clock::now();
    pool.run(threads, [&](int64_t task, int) { body(task, repeats); });
    best = std::max(best, work * static_cast<double>(repeats) / std::max(secondsSince(start), 1e-9));
    // Not by the slice's own time: a disturbed one would end the growth.
    const double undisturbed = work * static_cast<double>(repeats) / best;
    if (undisturbed < 1.5e-3 && repeats < int64_t{1} << 40) repeats *= undisturbed < 2e-4 ? 8 : 2;
    else slices++;
  }
  return best;
}

}  // namespace

Status measurePeak(DType dtype, const std::string& set, int threads, int ms, double* perSecond) {
  const KernelTable* table = nullptr;
  ASDM_TRY(kernels(set, DType::F32, &table));
  const PeakKernel kernel = peakKernel(table->name, dtype);
  *perSecond = 0;
  if (kernel.run == nullptr) return Status::good();
  try {
    *perSecond =
        bestRate(threads, ms, 2.0 * static_cast<double>(kernel.macs) * threads, [&](int64_t, int64_t repeats) { kernel.run(repeats); });
  } catch (const std::system_error& error) {
    return {Code::OutOfMemory, std::string("Expected threads to measure the machine, but the system gave none: ") + error.what()};
  }
  return Status::good();
}

Status measureCopy(uint64_t bytes, int threads, int ms, double* perSecond) {
  const size_t half = static_cast<size_t>(bytes) / 2 / static_cast<size_t>(threads);
  if (half == 0) return {Code::InvalidArgument, "Expected bytes to be at least two for each thread but received " + std::to_string(bytes)};
  ASDM_TRY(checkRoom(*makeDevice(), static_cast<double>(bytes), "copying"));
  Block block;
  if (!block.allocate(static_cast<size_t>(bytes))) return outOfMemory(static_cast<double>(bytes), "copying");
  std::memset(block.data(), 1, block.bytes());
  try {
    *perSecond = bestRate(threads, ms, 2.0 * static_cast<double>(half) * threads, [&](int64_t task, int64_t repeats) {
      std::byte* mine = block.data() + 2 * half * static_cast<size_t>(task);
      for (int64_t i = 0; i < repeats; i++) std::memcpy(mine + (i % 2 == 0 ? half : 0), mine + (i % 2 == 0 ? 0 : half), half);
    });
  } catch (const std::system_error& error) {
    return {Code::OutOfMemory, std::string("Expected threads to measure the machine, but the system gave none: ") + error.what()};
  }
  return Status::good();
}

}  // namespace asdm::cpu

// Stress of the thread pool, for scripts/tsan.mjs: several callers on shared threads, aborts, callers that come and go. Ends with 1 and a sentence where
// a task ran twice or not at all. With the argument `planted`, two tasks write one number, which the sanitizer has to report.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "core/thread_pool.h"

using asdm::ThreadPool;
using asdm::WorkerThreads;

namespace {

void expect(bool holds, const char* sentence) {
  if (holds) return;
  std::fprintf(stderr, "Expected %s\n", sentence);
  std::_Exit(1);
}

// More than there is room for single ones (core/open_tasks.h) with few threads.
constexpr size_t kTasks = 150;

// Tasks that helpers ran.
std::atomic<int64_t> helped{0};

// Each operation reads what the last one wrote, as layers do.
void caller(const std::shared_ptr<WorkerThreads>& workers, unsigned seed, int passes, std::atomic<bool>& cancel, bool aborted) {
  std::mt19937 random(seed);
  ThreadPool pool(workers);
  std::vector<int64_t> values, next;
  for (int pass = 0; pass < passes; pass++) {
    values.assign(kTasks, 0);
    int64_t expected = 0;
    {
      const ThreadPool::Pass scope(pool, cancel);
      for (int op = 0; op < 40; op++) {
        const auto tasks = static_cast<int64_t>(random() % kTasks + 1);
        const int spin = static_cast<int>(random() % 200);
        next.assign(kTasks, -1);
        const auto body = [&](int64_t task, int worker) {
          expect(worker >= 0 && worker < pool.threads(), "a worker's number below the number of threads");
          if (worker != 0) helped.fetch_add(1, std::memory_order_relaxed);
          volatile double x = 1;
          for (int turn = 0; turn < spin; turn++) x = x * 0.5 + 1;
          const auto i = static_cast<size_t>(task);
          next[i] += values[i] + 2;
        };
        if (random() % 2 == 0) pool.run(tasks, body);
        else pool.runBackwards(tasks, body);
        if (cancel.load()) break;
        expected++;
        for (size_t i = 0; i < kTasks; i++) {
          if (static_cast<int64_t>(i) < tasks) expect(aborted || next[i] == values[i] + 1, "each task to run once");
          else next[i] = values[i] + 1;
        }
        values.swap(next);
      }
    }
    for (int64_t value : values) expect(aborted || value == expected, "operations in order");
    if (aborted) cancel.store(false);
  }
  // Outside a pass.
  std::atomic<int> count{0};
  pool.run(17, [&](int64_t, int) { count++; });
  expect(count == 17, "a run outside a pass to run all tasks");
}

void planted() {
  ThreadPool pool(2);
  const std::atomic<bool> cancel{false};
  int64_t shared = 0;
  std::atomic<int> seen{0};
  while (seen < 5000) {
    const ThreadPool::Pass scope(pool, cancel);
    for (int op = 0; op < 100; op++)
      pool.run(64, [&](int64_t task, int worker) {
        shared += task;
        if (worker != 0) seen++;
      });
  }
  std::printf("%lld\n", static_cast<long long>(shared));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "planted") == 0) {
    planted();
    return 0;
  }
  for (int round = 0; round < 12; round++) {
    const auto workers = std::make_shared<WorkerThreads>(round == 11 ? 40 : round % 4 + 1);
    constexpr int kCallers = 3;
    std::vector<std::atomic<bool>> cancels(kCallers);
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < kCallers; i++)
      threads.emplace_back([&, i] { caller(workers, static_cast<unsigned>(round * 10 + i), 12, cancels[static_cast<size_t>(i)], i == 0); });
    // Only the first caller is aborted; the others must not notice.
    std::thread aborter([&] {
      while (!stop.load()) {
        std::this_thread::sleep_for(std::chrono::microseconds(700));
        cancels[0].store(true);
      }
    });
    for (std::thread& t : threads) t.join();
    stop.store(true);
    aborter.join();
  }
  expect(helped > 0, "helpers to run tasks");
  std::printf("the pool holds; helpers ran %lld tasks\n", static_cast<long long>(helped.load()));
}

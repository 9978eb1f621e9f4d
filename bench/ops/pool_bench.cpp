// What a second thread brings, on idle cores and while another process keeps one busy: operations as small as those of the emoji model, and as large
// as those of SD 1.5, of pure arithmetic.
//
//   g++ -std=c++17 -O2 -Inative bench/ops/pool_bench.cpp native/core/thread_pool.cpp native/core/worker_threads.cpp -pthread -o /tmp/pool_bench
//   /tmp/pool_bench [threads, 2 if left out]
//
// One thread and several take turns, pass by pass; the medians of their times are compared. The busy process is a fork of this one.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "core/thread_pool.h"

using asdm::ThreadPool;

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

volatile double sink;

// Some nanoseconds of work, of which a core does as many a second as it can.
void work(double ns) {
  double x = 1;
  for (int64_t i = 0; i < static_cast<int64_t>(ns); i++) x = x * 0.999999 + 1e-9;
  sink = x;
}

struct Kind {
  int64_t tasks;
  double ns;
};

double pass(ThreadPool& pool, const std::vector<Kind>& ops) {
  const std::atomic<bool> cancel{false};
  const double start = now();
  {
    const ThreadPool::Pass scope(pool, cancel);
    for (const Kind& op : ops) pool.run(op.tasks, [&](int64_t, int) { work(op.ns); });
  }
  return now() - start;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void compare(const char* name, const std::vector<Kind>& ops, int passes, int threads) {
  ThreadPool one(1), several(threads);
  std::vector<double> alone, shared;
  for (int i = 0; i < passes; i++)
    for (ThreadPool* pool : {&one, &several}) {
      // Groups of passes with a gap, as the steps of an image have.
      for (int k = 0; k < 10; k++) {
        (pool == &one ? alone : shared).push_back(pass(*pool, ops));
        std::this_thread::sleep_for(std::chrono::microseconds(700));
      }
    }
  double a = 0, b = 0;
  for (double s : alone) a += s;
  for (double s : shared) b += s;
  std::printf("%-28s one thread %8.2f ms, %d threads %8.2f ms, %.2f times as fast (mean %.2f)\n", name, 1e3 * median(alone), threads,
              1e3 * median(shared), median(alone) / median(shared), a / b);
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 2;
  std::vector<Kind> small, large;
  for (int i = 0; i < 60; i++)
    for (const Kind& op : {Kind{4, 300}, Kind{2, 4000}, Kind{4, 6000}, Kind{2, 1000}, Kind{8, 9000}, Kind{1, 500}, Kind{16, 2000}})
      small.push_back(op);
  for (int i = 0; i < 4; i++)
    for (const Kind& op : {Kind{24, 1e6}, Kind{4, 2e6}, Kind{64, 2e4}, Kind{2, 4e6}}) large.push_back(op);
  for (bool busy : {false, true}) {
    pid_t child = 0;
    if (busy && (child = fork()) == 0)
      for (;;) work(1e6);
    compare(busy ? "small, a core taken" : "small, idle", small, 30, threads);
    compare(busy ? "large, a core taken" : "large, idle", large, 3, threads);
    if (child != 0) {
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
    }
  }
}

// The programs of one graph: compiled for the sizes that are asked for, kept for a while, and run in one arena.
#pragma once

#include <list>
#include <utility>

#include "graph/configs.h"
#include "graph/program.h"
#include "runtime/model.h"
#include "runtime/transfers.h"
#include "weights/store.h"

namespace asdm {

class ProgramRunner {
 public:
  // All of them have to outlive it. queue: of the weights' device.
  ProgramRunner(const Graph& graph, const KernelTable& table, const WeightStore& weights, Queue& queue)
      : graph_(graph), table_(table), weights_(weights), queue_(queue), transfers_(weights.device()) {}

  // A program that gives these values (repetitions count once), which is not kept. May be called from any thread; the rest is for one at a time.
  Status compileFor(const ForwardShape& shape, const std::vector<UnitId>& outputs, Program* program) const;

  // The same, of those that are kept or compiled anew. It stays until the next call.
  Status programFor(const ForwardShape& shape, const std::vector<UnitId>& outputs, const Program** program);

  // Runs any program of the graph. inputs: in the graph's order, as checkValues wants them. kept: memory of the device for values that outlive it,
  // or null. results: one per program output. calls: for a profile, or null.
  Status run(const Program& program, const std::vector<const void*>& inputs, std::byte* kept, const std::atomic<bool>& cancel,
             std::vector<HostTensor>* results, std::vector<CallRow>* calls);

  // Frees the arena; the next run allocates it again.
  void trim() {
    arena_.release();
    transfers_.trim();
  }

 private:
  Status requestFor(const ForwardShape& shape, const std::vector<UnitId>& outputs, CompileRequest* request) const;
  Status reserveArena(const Program& program);
  const char* productFormat(const Program& program, const Step& step) const;
  std::vector<CallRow> callRows(const Program& program, const std::vector<double>& seconds) const;

  const Graph& graph_;
  const KernelTable& table_;
  const WeightStore& weights_;
  Queue& queue_;
  Buffer arena_;
  Transfers transfers_;
  std::list<std::pair<CompileRequest, Program>> programs_;  // most recently used first
};

}  // namespace asdm

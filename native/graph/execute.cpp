#include "graph/execute.h"

#include "graph/rules.h"

namespace asdm {

namespace {

// Fills a step's scratch and its result, unless it is in place, with NaN.
void poison(const Pointers& p, Queue& queue) {
  queue.fill(queue.scratch(), 0xff, p.program.scratchBytes);
  const uint64_t bytes = p.program.valueBytes(p.step.result);
  if (p.step.out.kind == Place::Arena && !p.step.inPlace) queue.fill(p.out(), 0xff, bytes);
  if (p.step.outLow.kind == Place::Arena && !p.step.lowInPlace) queue.fill(p.outLow(), 0xff, bytes);
}

}  // namespace

Status execute(const Program& program, const KernelTable& table, const RunBindings& bindings, Queue& queue,
               const std::atomic<bool>& cancel) {
  const CancelScope scope(queue, cancel);
  queue.setScratch(bindings.arena + program.arenaBytes);
  queue.startTiming(bindings.seconds);
  for (const Step& step : program.steps) {
    if (cancel.load(std::memory_order_relaxed)) break;
    const Pointers pointers{program, bindings, step};
    if (bindings.poison) poison(pointers, queue);
    withKernel(table, step.op, step.args, [&](auto op, auto args, const auto& kernel) {
      Rule<op()>::bind(pointers, args);
      kernel.run(args, queue);
    });
    if (bindings.seconds != nullptr) queue.mark();
  }
  const Status status = statusOf(queue.finish());
  queue.startTiming(nullptr);
  return status;
}

}  // namespace asdm

#include "graph/execute.h"

#include <chrono>
#include <cstring>

namespace asdm {

namespace {

// Binds the pointers of one step and calls its kernel.
struct Runner {
  const Program& program;
  const KernelTable& table;
  const WeightStore& weights;
  const RunBindings& bindings;
  KernelContext context;
  const Step* step = nullptr;

  const void* read(const Place& place) const {
    switch (place.kind) {
      case Place::Arena: return bindings.arena + place.offset;
      case Place::Input: return bindings.inputs[place.offset];
      case Place::Output: return bindings.outputs[place.offset];
      case Place::Kept: return bindings.kept + place.offset;
      case Place::None: break;
    }
    return nullptr;
  }
  const void* in(int i) const { return read(step->in[i]); }
  // From the operand's first column on.
  const void* columns(int i) const {
    return static_cast<const std::byte*>(in(i)) + step->columns[i] * dtypeBytes(program.activations);
  }
  const void* residual() const { return read(step->residualPlace); }
  void* out() const { return const_cast<void*>(read(step->out)); }
  const void* weight(int i) const { return step->weights[i] == kNoWeight ? nullptr : weights.data(step->weights[i]); }
  const float* vector(int i) const { return static_cast<const float*>(weight(i)); }

  void operator()(LinearArgs a) {
    a.xLow = read(step->inLow[0]);
    a.residualLow = read(step->residualLow);
    a.yLow = const_cast<void*>(read(step->outLow));
    a.x = in(0);
    a.weight = weight(0);
    a.bias = vector(1);
    a.residual = residual();
    a.y = out();
    table.linear.run(a, context);
  }
  void bind(ConvArgs& a) const {
    a.xLow = read(step->inLow[0]);
    a.residualLow = read(step->residualLow);
    a.yLow = const_cast<void*>(read(step->outLow));
    a.x = in(0);
    a.weight = weight(0);
    a.bias = vector(1);
    a.rowBias = in(1);
    a.residual = residual();
    a.y = out();
  }
  void operator()(ConvArgs a) {
    bind(a);
    table.conv.run(a, context);
  }
  void operator()(CondConvArgs a) {
    bind(a.conv);
    a.routerWeight = vector(2);
    a.routerBias = vector(3);
    table.condConv.run(a, context);
  }
  void operator()(GroupNormArgs a) {
    a.x = in(0);
    a.xLow = read(step->inLow[0]);
    a.gamma = vector(0);
    a.beta = vector(1);
    a.y = out();
    table.groupNorm.run(a, context);
  }
  void operator()(LayerNormArgs a) {
    a.x = in(0);
    a.xLow = read(step->inLow[0]);
    a.gamma = vector(0);
    a.beta = vector(1);
    a.y = out();
    table.layerNorm.run(a, context);
  }
  void operator()(AttentionArgs a) {
    a.q = columns(0);
    a.k = columns(1);
    a.v = columns(2);
    a.o = out();
    table.attention.run(a, context);
  }
  void operator()(GegluArgs a) {
    a.x = in(0);
    a.y = out();
    table.geglu.run(a, context);
  }
  void operator()(ActivationArgs a) {
    a.x = in(0);
    a.y = out();
    table.activation.run(a, context);
  }
  void operator()(AddArgs a) {
    a.a = in(0);
    a.b = in(1);
    a.y = out();
    a.aLow = read(step->inLow[0]);
    a.bLow = read(step->inLow[1]);
    a.yLow = const_cast<void*>(read(step->outLow));
    table.add.run(a, context);
  }
  void operator()(ConcatArgs a) {
    a.a = in(0);
    a.b = in(1);
    a.y = out();
    a.aLow = read(step->inLow[0]);
    a.bLow = read(step->inLow[1]);
    a.yLow = const_cast<void*>(read(step->outLow));
    table.concat.run(a, context);
  }
  void operator()(EmbedArgs a) {
    a.ids = static_cast<const int32_t*>(in(0));
    a.token = weight(0);
    a.position = weight(1);
    a.y = out();
    table.embed.run(a, context);
  }
  void operator()(TimestepArgs a) {
    a.t = static_cast<const float*>(in(0));
    a.y = out();
    table.timestep.run(a, context);
  }
  void operator()(LayoutArgs a) {
    a.x = in(0);
    a.y = out();
    a.yLow = const_cast<void*>(read(step->outLow));
    (step->op == Op::ToChannelsLast ? table.toChannelsLast : table.toChannelsFirst).run(a, context);
  }

  void poison() const {
    std::memset(context.scratch, 0xff, program.scratchBytes);
    const Shape& shape = program.shapes[static_cast<size_t>(step->result)];
    const size_t bytes = static_cast<size_t>(shape.count() * dtypeBytes(program.activations));
    if (step->out.kind == Place::Arena && !step->inPlace) std::memset(bindings.arena + step->out.offset, 0xff, bytes);
    if (step->outLow.kind == Place::Arena && !step->lowInPlace) std::memset(bindings.arena + step->outLow.offset, 0xff, bytes);
  }
};

struct CancelScope {
  ThreadPool& pool;
  CancelScope(ThreadPool& p, const std::atomic<bool>& cancel) : pool(p) { pool.setCancel(&cancel); }
  ~CancelScope() { pool.setCancel(nullptr); }
};

}  // namespace

Status execute(const Program& program, const KernelTable& table, const WeightStore& weights, const RunBindings& bindings,
               ThreadPool& pool, const std::atomic<bool>& cancel) {
  const CancelScope scope(pool, cancel);
  using Clock = std::chrono::steady_clock;
  Runner runner{program, table, weights, bindings, KernelContext{pool, bindings.arena + program.arenaBytes}};
  double* seconds = bindings.seconds;
  for (const Step& step : program.steps) {
    if (cancel.load(std::memory_order_relaxed)) break;
    runner.step = &step;
    if (bindings.poison) runner.poison();
    const Clock::time_point start = seconds != nullptr ? Clock::now() : Clock::time_point();
    std::visit([&](const auto& args) { runner(args); }, step.args);
    if (seconds != nullptr) *seconds++ = std::chrono::duration<double>(Clock::now() - start).count();
  }
  if (cancel.load(std::memory_order_relaxed)) return {Code::Aborted, "The operation was aborted"};
  return Status::good();
}

}  // namespace asdm

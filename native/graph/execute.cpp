#include "graph/execute.h"

namespace asdm {

namespace {

// Binds the pointers of one step, as its arguments' contract has them, and calls its kernel.
struct Runner {
  const Program& program;
  const KernelTable& table;
  const RunBindings& bindings;
  Queue& queue;
  const Step* step = nullptr;

  void* write(const Place& place) const {
    switch (place.kind) {
      case Place::Arena: return bindings.arena + place.offset;
      case Place::Output: return bindings.outputs[place.offset];
      case Place::Kept: return bindings.kept + place.offset;
      case Place::Input:
      case Place::None: break;
    }
    return nullptr;
  }
  const void* read(const Place& place) const { return place.kind == Place::Input ? bindings.inputs[place.offset] : write(place); }
  const void* in(int i) const { return read(step->in[i]); }
  // From the operand's first column on.
  const void* columns(int i) const {
    return static_cast<const std::byte*>(in(i)) + step->columns[i] * dtypeBytes(program.dtypes[static_cast<size_t>(step->operands[i])]);
  }
  const void* residual() const { return read(step->residualPlace); }
  void* out() const { return write(step->out); }
  void* outLow() const { return write(step->outLow); }
  const void* weight(int i) const {
    return step->weights[i] == kNoWeight ? nullptr : bindings.weights[static_cast<size_t>(step->weights[i])];
  }
  const float* vector(int i) const { return static_cast<const float*>(weight(i)); }
  float* gradient(int i) const {
    const WeightId id = step->weights[i];
    return id == kNoWeight || bindings.gradients.empty() ? nullptr : bindings.gradients[static_cast<size_t>(id)];
  }

  void bind(LinearArgs& a) const {
    a.xLow = read(step->inLow[0]);
    a.residualLow = read(step->residualLow);
    a.yLow = outLow();
    a.x = in(0);
    a.weight = weight(0);
    a.bias = vector(1);
    a.residual = residual();
    a.y = out();
  }
  void bind(ConvArgs& a) const {
    a.xLow = read(step->inLow[0]);
    a.residualLow = read(step->residualLow);
    a.yLow = outLow();
    a.x = in(0);
    a.weight = weight(0);
    a.bias = vector(1);
    a.rowBias = in(1);
    a.residual = residual();
    a.y = out();
  }
  void bind(CondConvArgs& a) const {
    bind(a.conv);
    a.routerWeight = vector(2);
    a.routerBias = vector(3);
  }
  void bind(GroupNormArgs& a) const {
    a.x = in(0);
    a.xLow = read(step->inLow[0]);
    a.gamma = vector(0);
    a.beta = vector(1);
    a.y = out();
  }
  void bind(LayerNormArgs& a) const {
    a.x = in(0);
    a.xLow = read(step->inLow[0]);
    a.gamma = vector(0);
    a.beta = vector(1);
    a.y = out();
  }
  void bind(AttentionArgs& a) const {
    a.q = columns(0);
    a.k = columns(1);
    a.v = columns(2);
    a.o = out();
  }
  void bind(GegluArgs& a) const {
    a.x = in(0);
    a.y = out();
  }
  void bind(ActivationArgs& a) const {
    a.x = in(0);
    a.y = out();
  }
  void bind(AddArgs& a) const {
    a.a = in(0);
    a.b = in(1);
    a.y = out();
    a.aLow = read(step->inLow[0]);
    a.bLow = read(step->inLow[1]);
    a.yLow = outLow();
  }
  void bind(ConcatArgs& a) const {
    a.a = in(0);
    a.b = in(1);
    a.y = out();
    a.aLow = read(step->inLow[0]);
    a.bLow = read(step->inLow[1]);
    a.yLow = outLow();
  }
  void bind(EmbedArgs& a) const {
    a.ids = static_cast<const int32_t*>(in(0));
    a.token = weight(0);
    a.position = weight(1);
    a.y = out();
  }
  void bind(TimestepArgs& a) const {
    a.t = static_cast<const float*>(in(0));
    a.y = out();
  }
  void bind(LinearInputGradientArgs& a) const {
    a.dy = in(0);
    a.weight = weight(0);
    a.dx = out();
  }
  void bind(LinearWeightGradientArgs& a) const {
    a.x = in(0);
    a.dy = in(1);
    a.dWeight = gradient(0);
    a.dBias = gradient(1);
  }
  void bind(ConvInputGradientArgs& a) const {
    a.forward.weight = weight(0);
    a.dy = in(0);
    a.dx = out();
  }
  void bind(ConvWeightGradientArgs& a) const {
    a.forward.x = in(0);
    a.dy = in(1);
    a.dWeight = gradient(0);
    a.dBias = gradient(1);
  }
  void bind(CondConvGradientArgs& a) const {
    a.forward.conv.x = in(0);
    a.forward.conv.weight = weight(0);
    a.forward.conv.bias = vector(1);
    a.forward.routerWeight = vector(2);
    a.forward.routerBias = vector(3);
    a.dy = in(1);
    a.dx = out();
    a.dWeight = gradient(0);
    a.dBias = gradient(1);
    a.dRouterWeight = gradient(2);
    a.dRouterBias = gradient(3);
  }
  template <class Args>
  void bindNorm(Args& a) const {
    a.forward.x = in(0);
    a.forward.gamma = vector(0);
    a.forward.beta = vector(1);
    a.dy = in(1);
    a.dx = out();
    a.dGamma = gradient(0);
    a.dBeta = gradient(1);
  }
  void bind(GroupNormGradientArgs& a) const { bindNorm(a); }
  void bind(LayerNormGradientArgs& a) const { bindNorm(a); }
  void bind(AttentionGradientArgs& a) const {
    a.forward.q = columns(0);
    a.forward.k = columns(1);
    a.forward.v = columns(2);
    a.o = in(3);
    a.dy = in(4);
    float* const dx = static_cast<float*>(out());
    a.dq = a.queries ? dx + step->columns[0] : nullptr;
    a.dk = a.keys ? dx + step->columns[1] : nullptr;
    a.dv = a.keys ? dx + step->columns[2] : nullptr;
  }
  void bind(GegluGradientArgs& a) const {
    a.x = in(0);
    a.dy = in(1);
    a.dx = out();
  }
  void bind(ActivationGradientArgs& a) const {
    a.x = in(0);
    a.dy = in(1);
    a.dx = out();
  }
  void bind(SliceArgs& a) const {
    a.x = in(0);
    a.y = out();
  }
  void bind(SumRowsArgs& a) const {
    a.x = in(0);
    a.y = out();
  }
  void bind(LossArgs& a) const {
    a.prediction = in(0);
    a.target = in(1);
    a.y = static_cast<float*>(out());
  }
  void bind(LossGradientArgs& a) const {
    a.forward.prediction = in(0);
    a.forward.target = in(1);
    a.weight = static_cast<const float*>(in(2));
    a.dx = out();
  }
  void bind(LayoutArgs& a) const {
    a.x = in(0);
    a.y = out();
    a.yLow = outLow();
  }

  void call() {
    withKernel(table, step->op, step->args, [this](auto args, const auto& kernel) {
      bind(args);
      kernel.run(args, queue);
    });
  }

  void poison() const {
    queue.fill(queue.scratch(), 0xff, program.scratchBytes);
    const uint64_t bytes = program.valueBytes(step->result);
    if (step->out.kind == Place::Arena && !step->inPlace) queue.fill(out(), 0xff, bytes);
    if (step->outLow.kind == Place::Arena && !step->lowInPlace) queue.fill(outLow(), 0xff, bytes);
  }
};

}  // namespace

Status execute(const Program& program, const KernelTable& table, const RunBindings& bindings, Queue& queue,
               const std::atomic<bool>& cancel) {
  const CancelScope scope(queue, cancel);
  queue.setScratch(bindings.arena + program.arenaBytes);
  queue.startTiming(bindings.seconds);
  Runner runner{program, table, bindings, queue};
  for (const Step& step : program.steps) {
    if (cancel.load(std::memory_order_relaxed)) break;
    runner.step = &step;
    if (bindings.poison) runner.poison();
    runner.call();
    if (bindings.seconds != nullptr) queue.mark();
  }
  const Status status = statusOf(queue.finish());
  queue.startTiming(nullptr);
  return status;
}

}  // namespace asdm

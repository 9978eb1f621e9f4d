// Gradients and the optimizer. Results are given one behind the other, in the order of the contract's struct; gradients of weights start from
// `start` (0 if left out), to which they are added, and matrices come out in PyTorch's order.
#include <cmath>

#include "testing/op_runner.h"

namespace asdm::testing {

namespace {

// A gradient of weights, filled with what it starts from.
class WeightGradient {
 public:
  WeightGradient(const OpCall& call, size_t count) : memory_(count * sizeof(float)) {
    const float start = call.args.Has("start") ? call.number("start") : 0.0f;
    for (size_t i = 0; i < count; i++) memory_.floats()[i] = start;
  }
  float* data() const { return memory_.floats(); }
  const Guarded& memory() const { return memory_; }

 private:
  Guarded memory_;
};

// Puts results one behind the other.
class Results {
 public:
  explicit Results(const OpCall& call) : call_(call) {}
  void add(const Guarded& memory) {
    const auto values = call_.result(memory).As<Napi::Float32Array>();
    numbers_.insert(numbers_.end(), values.Data(), values.Data() + values.ElementLength());
  }
  void add(const WeightGradient& gradient) { add(gradient.memory()); }
  // Matrices of the shape that lie `distance` bytes apart.
  void addMatrices(const WeightGradient& gradient, const WeightShape& shape, int64_t count, size_t distance) {
    if (!gradient.memory().intact()) throw Napi::Error::New(call_.env, "kernel wrote outside its output");
    for (int64_t i = 0; i < count; i++) {
      std::vector<float> rows(static_cast<size_t>(shape.n * shape.k()));
      const std::byte* const packed = reinterpret_cast<const std::byte*>(gradient.data()) + static_cast<size_t>(i) * distance;
      const int64_t split = shape.n / 3;
      call_.unpack(UnpackArgs{shape, packed, 0, split, rows.data()});
      call_.unpack(UnpackArgs{shape, packed, split, shape.n - split, rows.data() + split * shape.k()});
      numbers_.insert(numbers_.end(), rows.begin(), rows.end());
    }
  }
  Napi::Value all() const {
    Napi::Float32Array array = Napi::Float32Array::New(call_.env, numbers_.size());
    std::memcpy(array.Data(), numbers_.data(), numbers_.size() * sizeof(float));
    return array;
  }

 private:
  const OpCall& call_;
  std::vector<float> numbers_;
};

// x [m, k], weight [n, k], dy [m, n]; m, n, k. Gives dx, dWeight, dBias.
Napi::Value linearGradient(const OpCall& call) {
  const Activations x = call.activations("x"), dy = call.activations("dy");
  const Input weight(call.args, "weight");
  const int64_t m = call.integer("m");
  const WeightShape shape{call.integer("n"), call.integer("k"), 1, call.weightFormat()};
  const Guarded packed = call.pack(weight, shape), dx = call.output(m * shape.channels);
  const WeightGradient dWeight(call, packed.bytes() / sizeof(float)), dBias(call, static_cast<size_t>(shape.n));
  call.run(call.table.linearInputGradient, LinearInputGradientArgs{dy.data(), m, shape, packed.data(), dx.data()});
  call.run(call.table.linearWeightGradient, LinearWeightGradientArgs{x.data(), dy.data(), m, shape, dWeight.data(), dBias.data()});
  Results results(call);
  results.add(dx);
  results.addMatrices(dWeight, shape, 1, 0);
  results.add(dBias);
  return results.all();
}

// As conv, and dy. Gives dx, dWeight, dBias.
Napi::Value convGradient(const OpCall& call) {
  const Activations x = call.activations("x"), dy = call.activations("dy");
  const Input weight(call.args, "weight");
  ConvArgs a = convArgs(call);
  const Guarded packed = call.pack(weight, a.shape), dx = call.output(a.n * a.h * a.w * a.shape.channels);
  const WeightGradient dWeight(call, packed.bytes() / sizeof(float)), dBias(call, static_cast<size_t>(a.shape.n));
  a.x = x.data();
  a.weight = packed.data();
  call.run(call.table.convInputGradient, ConvInputGradientArgs{a, dy.data(), dx.data()});
  call.run(call.table.convWeightGradient, ConvWeightGradientArgs{a, dy.data(), dWeight.data(), dBias.data()});
  Results results(call);
  results.add(dx);
  results.addMatrices(dWeight, a.shape, 1, 0);
  results.add(dBias);
  return results.all();
}

// As condConv, and dy. Gives dx, dWeight, dBias, dRouterWeight, dRouterBias.
Napi::Value condConvGradient(const OpCall& call) {
  const Activations x = call.activations("x"), dy = call.activations("dy");
  const Input weight(call.args, "weight"), bias(call.args, "bias"), routerWeight(call.args, "routerWeight"),
      routerBias(call.args, "routerBias");
  ConvArgs a = convArgs(call);
  const int64_t experts = call.integer("experts");
  const size_t distance = expertBytes(call.table.packedBytes(a.shape));
  const Guarded packed(distance * static_cast<size_t>(experts)), dx = call.output(a.n * a.h * a.w * a.shape.channels);
  for (int64_t e = 0; e < experts; e++)
    call.pack(
        PackArgs{a.shape, weight.data() + e * a.shape.n * a.shape.k(), 0, a.shape.n, packed.data() + static_cast<size_t>(e) * distance});
  a.x = x.data();
  a.weight = packed.data();
  a.bias = bias.data();
  const WeightGradient dWeight(call, packed.bytes() / sizeof(float)), dBias(call, static_cast<size_t>(experts * a.shape.n));
  const WeightGradient dRouterWeight(call, static_cast<size_t>(experts * a.shape.channels)),
      dRouterBias(call, static_cast<size_t>(experts));
  const CondConvArgs forward{a, experts, call.flag("softmax") ? Routing::Softmax : Routing::Sigmoid, routerWeight.data(),
                             routerBias.data()};
  call.run(call.table.condConvGradient,
           CondConvGradientArgs{forward, dy.data(), dx.data(), dWeight.data(), dBias.data(), dRouterWeight.data(), dRouterBias.data()});
  Results results(call);
  results.add(dx);
  results.addMatrices(dWeight, a.shape, experts, distance);
  results.add(dBias);
  results.add(dRouterWeight);
  results.add(dRouterBias);
  return results.all();
}

// As groupNorm, and dy; inPlace: dx is dy. Gives dx, dGamma, dBeta.
template <class Args, class Forward>
Napi::Value normGradient(const OpCall& call, const Kernel<Args>& kernel, Forward forward, int64_t c) {
  const Activations x = call.activations("x"), dy = call.activations("dy");
  const Input gamma(call.args, "gamma"), beta(call.args, "beta");
  const Guarded dx = call.output(static_cast<int64_t>(x.count()));
  const WeightGradient dGamma(call, static_cast<size_t>(c)), dBeta(call, static_cast<size_t>(c));
  const bool inPlace = call.flag("inPlace");
  if (inPlace) std::memcpy(dx.data(), dy.data(), dx.bytes());
  forward.x = x.data();
  forward.gamma = gamma.data();
  forward.beta = beta.data();
  call.run(kernel, Args{forward, inPlace ? dx.data() : dy.data(), dx.data(), dGamma.data(), dBeta.data()});
  Results results(call);
  results.add(dx);
  results.add(dGamma);
  results.add(dBeta);
  return results.all();
}
Napi::Value groupNormGradient(const OpCall& call) {
  GroupNormArgs forward{};
  forward.n = call.integer("n");
  forward.rows = call.integer("rows");
  forward.c = call.integer("c");
  forward.groups = call.integer("groups");
  forward.eps = call.number("eps");
  forward.silu = call.flag("silu");
  return normGradient(call, call.table.groupNormGradient, forward, forward.c);
}
Napi::Value layerNormGradient(const OpCall& call) {
  LayerNormArgs forward{};
  forward.rows = call.integer("rows");
  forward.c = call.integer("c");
  forward.eps = call.number("eps");
  return normGradient(call, call.table.layerNormGradient, forward, forward.c);
}

// As attention, with o and dy; part: 'queries' or 'keys' for one of two calls, else both at once. Gives dq, dk, dv.
Napi::Value attentionGradient(const OpCall& call) {
  const Activations q = call.activations("q"), k = call.activations("k"), v = call.activations("v"), o = call.activations("o"),
                    dy = call.activations("dy");
  AttentionGradientArgs g{};
  AttentionArgs& a = g.forward;
  a.batch = call.integer("batch");
  a.heads = call.integer("heads");
  a.qLength = call.integer("qLength");
  a.kLength = call.integer("kLength");
  a.headDim = call.integer("headDim");
  a.ldq = a.ldk = a.ldv = a.ldo = a.heads * a.headDim;
  a.scale = call.number("scale");
  a.causal = call.flag("causal");
  a.q = q.data();
  a.k = k.data();
  a.v = v.data();
  g.o = o.data();
  g.dy = dy.data();
  const Guarded dq = call.output(static_cast<int64_t>(q.count())), dk = call.output(static_cast<int64_t>(k.count())),
                dv = call.output(static_cast<int64_t>(v.count()));
  g.dq = dq.data();
  g.dk = dk.data();
  g.dv = dv.data();
  if (call.flag("apart")) {
    g.queries = true;
    call.run(call.table.attentionGradient, g);
    g.queries = false;
    g.keys = true;
    call.run(call.table.attentionGradient, g);
  } else {
    g.queries = g.keys = true;
    call.run(call.table.attentionGradient, g);
  }
  Results results(call);
  results.add(dq);
  results.add(dk);
  results.add(dv);
  return results.all();
}

Napi::Value gegluGradient(const OpCall& call) {
  const Activations x = call.activations("x"), dy = call.activations("dy");
  const Guarded dx = call.output(static_cast<int64_t>(x.count()));
  call.run(call.table.gegluGradient, GegluGradientArgs{x.data(), dy.data(), call.integer("rows"), call.integer("inner"), dx.data()});
  return call.result(dx);
}

Napi::Value activationGradient(const OpCall& call) {
  const Activations x = call.activations("x"), dy = call.activations("dy");
  const Guarded dx = call.output(static_cast<int64_t>(x.count()));
  call.run(call.table.activationGradient,
           ActivationGradientArgs{x.data(), dy.data(), static_cast<int64_t>(x.count()), call.activation("activation"), dx.data()});
  return call.result(dx);
}

Napi::Value slice(const OpCall& call) {
  const Activations x = call.activations("x");
  const SliceArgs a{x.data(), call.integer("rows"), call.integer("columns"), call.integer("first"), call.integer("width"), nullptr};
  const Guarded y = call.output(a.rows * a.width);
  call.run(call.table.slice, SliceArgs{a.x, a.rows, a.columns, a.first, a.width, y.data()});
  return call.result(y);
}

Napi::Value sumRows(const OpCall& call) {
  const Activations x = call.activations("x");
  const int64_t n = call.integer("n"), rows = call.integer("rows"), c = call.integer("c");
  const Guarded y = call.output(n * c);
  call.run(call.table.sumRows, SumRowsArgs{x.data(), n, rows, c, y.data()});
  return call.result(y);
}

// prediction, target [n, rows, c], weight [n]; cosine?. Gives each sample's loss, then the prediction's gradient.
Napi::Value loss(const OpCall& call) {
  const Activations prediction = call.activations("prediction"), target = call.activations("target");
  const Input weight(call.args, "weight");
  LossArgs a{prediction.data(),
             target.data(),
             call.integer("n"),
             call.integer("rows"),
             call.integer("c"),
             call.flag("cosine") ? Loss::Cosine : Loss::SquaredError,
             nullptr};
  const Guarded y(static_cast<size_t>(a.n) * sizeof(float)), dx = call.output(a.n * a.rows * a.c);
  a.y = y.floats();
  call.run(call.table.loss, a);
  call.run(call.table.lossGradient, LossGradientArgs{a, weight.data(), dx.data()});
  Results results(call);
  results.add(y);
  results.add(dx);
  return results.all();
}

// weight, gradient, first, second; scale, rate, beta1, beta2, eps, decay, step. Gives all four afterwards.
Napi::Value adamW(const OpCall& call) {
  const char* const names[] = {"weight", "gradient", "first", "second"};
  std::vector<Guarded> memory;
  for (const char* name : names) {
    const Input input(call.args, name);
    memory.emplace_back(input.count() * sizeof(float));
    std::memcpy(memory.back().data(), input.data(), input.count() * sizeof(float));
  }
  const double beta1 = call.args.Get("beta1").ToNumber().DoubleValue(), beta2 = call.args.Get("beta2").ToNumber().DoubleValue(),
               step = call.number("step");
  const AdamWArgs a{memory[0].floats(),
                    memory[1].floats(),
                    memory[2].floats(),
                    memory[3].floats(),
                    static_cast<int64_t>(memory[0].bytes() / sizeof(float)),
                    call.number("scale"),
                    call.number("rate"),
                    call.number("beta1"),
                    call.number("beta2"),
                    call.number("eps"),
                    call.number("decay"),
                    1 - std::pow(beta1, step),
                    1 - std::pow(beta2, step)};
  call.run(call.table.adamW, a);
  Results results(call);
  for (const Guarded& each : memory) results.add(each);
  return results.all();
}

Napi::Value average(const OpCall& call) {
  const Input old(call.args, "average"), weight(call.args, "weight");
  const Guarded memory(old.count() * sizeof(float));
  std::memcpy(memory.data(), old.data(), memory.bytes());
  call.run(call.table.average, AverageArgs{memory.floats(), weight.data(), static_cast<int64_t>(old.count()), call.number("keep")});
  return call.result(memory);
}

Napi::Value squares(const OpCall& call) {
  const Input x(call.args, "x");
  double sum = 0;
  call.run(call.table.squares, SquaresArgs{x.data(), static_cast<int64_t>(x.count()), &sum});
  Napi::Float32Array array = Napi::Float32Array::New(call.env, 1);
  array[0] = static_cast<float>(sum);
  return array;
}

}  // namespace

void addTrainingOps(OpMap& map) {
  map["linearGradient"] = linearGradient;
  map["convGradient"] = convGradient;
  map["condConvGradient"] = condConvGradient;
  map["groupNormGradient"] = groupNormGradient;
  map["layerNormGradient"] = layerNormGradient;
  map["attentionGradient"] = attentionGradient;
  map["gegluGradient"] = gegluGradient;
  map["activationGradient"] = activationGradient;
  map["slice"] = slice;
  map["sumRows"] = sumRows;
  map["loss"] = loss;
  map["adamW"] = adamW;
  map["average"] = average;
  map["squares"] = squares;
}

}  // namespace asdm::testing

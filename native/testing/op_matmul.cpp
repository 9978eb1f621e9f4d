#include "testing/op_runner.h"

namespace asdm::testing {

namespace {

// wide?: float weights. x [m, k] of row distance ldx, xLow?, weight [n, k], bias [n]?, residual of row distance ldr?, activation?, gated?; m, n, k, ldx?, ldr?, ldy?.
// inPlace: the residual lies in y. residualLow?, low: the low part is wanted too, which the result then gives behind y. Gives y's whole memory, so that a test sees whether the gaps between rows stayed NaN.
Napi::Value linear(const OpCall& call) {
  const Activations x = call.activations("x"), residual = call.activations("residual"), residualLow = call.activations("residualLow");
  const Activations xLow = call.activations("xLow");
  const Input weight(call.args, "weight"), bias(call.args, "bias");
  const int64_t m = call.integer("m"), n = call.integer("n"), k = call.integer("k");
  const bool gated = call.flag("gated");
  const int64_t width = gated ? n / 2 : n, ldy = call.integerOr("ldy", width), ldr = call.integerOr("ldr", width);
  const WeightShape shape{n, k, 1, call.weightFormat()};
  const Guarded packed = call.pack(weight, shape);
  const Guarded y = call.output((m - 1) * ldy + width);
  const Guarded yLow = call.output((m - 1) * ldy + width);
  const bool inPlace = call.flag("inPlace"), low = call.flag("low");
  if (inPlace) std::memcpy(y.data(), residual.data(), y.bytes());
  if (inPlace && low) std::memcpy(yLow.data(), residualLow.data(), y.bytes());
  call.run(call.table.linear,
           LinearArgs{x.data(), m, call.integerOr("ldx", k), shape, packed.data(), bias.data(), call.activation("activation"),
                      inPlace ? y.data() : residual.data(), ldr, y.data(), ldy, inPlace && low ? yLow.data() : residualLow.data(),
                      low ? yLow.data() : nullptr, xLow.data(), gated});
  return low ? call.both(y, yLow) : call.result(y);
}

// Binds what all convolutions have, and runs one.
template <class Run>
Napi::Value runConv(const OpCall& call, ConvArgs a, const Run& run) {
  const Activations x = call.activations("x"), rowBias = call.activations("rowBias"), residual = call.activations("residual");
  const Activations residualLow = call.activations("residualLow"), xLow = call.activations("xLow");
  const Input bias(call.args, "bias");
  const Guarded y = call.output(a.n * a.outH * a.outW * a.shape.n), yLow = call.output(a.n * a.outH * a.outW * a.shape.n);
  const bool inPlace = call.flag("inPlace"), low = call.flag("low");
  if (inPlace) std::memcpy(y.data(), residual.data(), y.bytes());
  if (inPlace && low) std::memcpy(yLow.data(), residualLow.data(), y.bytes());
  a.x = x.data();
  a.xLow = xLow.data();
  a.bias = bias.data();
  a.rowBias = rowBias.data();
  a.residual = inPlace ? y.data() : residual.data();
  a.y = y.data();
  a.residualLow = inPlace && low ? yLow.data() : residualLow.data();
  a.yLow = low ? yLow.data() : nullptr;
  run(a);
  return low ? call.both(y, yLow) : call.result(y);
}

// x [n, h, w, c], weight [co, c, kernelH, kernelW], bias [co]?, rowBias [n, co] of row distance ldRowBias?, residual?, inPlace?,
// residualLow?, low?; resizeH?, resizeW?, stride?, padTop?, padLeft?, outH, outW. Gives y [n, outH, outW, co].
Napi::Value conv(const OpCall& call) {
  const Input weight(call.args, "weight");
  ConvArgs args = convArgs(call);
  const Guarded packed = call.pack(weight, args.shape);
  args.weight = packed.data();
  return runConv(call, args, [&](const ConvArgs& a) { call.run(call.table.conv, a); });
}

// As conv, with weight [experts, co, c, kernelH, kernelW], bias [experts, co]?, routerWeight [experts, c], routerBias [experts]; experts,
// softmax?.
Napi::Value condConv(const OpCall& call) {
  const Input weight(call.args, "weight"), routerWeight(call.args, "routerWeight"), routerBias(call.args, "routerBias");
  ConvArgs args = convArgs(call);
  const int64_t experts = call.integer("experts");
  const size_t bytes = call.table.packedBytes(args.shape), distance = expertBytes(bytes);
  const Guarded packed(distance * static_cast<size_t>(experts));
  for (int64_t e = 0; e < experts; e++)
    call.pack(PackArgs{args.shape, weight.data() + e * args.shape.n * args.shape.k(), 0, args.shape.n,
                       packed.data() + static_cast<size_t>(e) * distance});
  args.weight = packed.data();
  return runConv(call, args, [&](const ConvArgs& a) {
    call.run(call.table.condConv,
             CondConvArgs{a, experts, call.flag("softmax") ? Routing::Softmax : Routing::Sigmoid, routerWeight.data(), routerBias.data()});
  });
}

}  // namespace

ConvArgs convArgs(const OpCall& call) {
  ConvArgs a{};
  a.n = call.integer("n");
  a.h = call.integer("h");
  a.w = call.integer("w");
  a.resizeH = call.integerOr("resizeH", 0);
  a.resizeW = call.integerOr("resizeW", 0);
  a.kernelH = call.integer("kernelH");
  a.kernelW = call.integer("kernelW");
  a.stride = call.integerOr("stride", 1);
  a.padTop = call.integerOr("padTop", 0);
  a.padLeft = call.integerOr("padLeft", 0);
  a.outH = call.integer("outH");
  a.outW = call.integer("outW");
  a.shape = {call.integer("co"), call.integer("c"), a.kernelH * a.kernelW, call.weightFormat()};
  a.ldRowBias = call.integerOr("ldRowBias", a.shape.n);
  return a;
}

void addMatmulOps(OpMap& map) {
  map["linear"] = linear;
  map["conv"] = conv;
  map["condConv"] = condConv;
}

}  // namespace asdm::testing

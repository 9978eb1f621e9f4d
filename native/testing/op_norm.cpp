#include "testing/op_runner.h"

namespace asdm::testing {

namespace {

// The output, with the input already in it where the call asks for inPlace.
const void* source(const OpCall& call, const Activations& x, const Guarded& y) {
  if (!call.flag("inPlace")) return x.data();
  std::memcpy(y.data(), x.data(), y.bytes());
  return y.data();
}

// x, xLow?, gamma, beta, inPlace?
Napi::Value groupNorm(const OpCall& call) {
  const Activations x = call.activations("x"), xLow = call.activations("xLow");
  const Input gamma(call.args, "gamma"), beta(call.args, "beta");
  const Guarded y = call.output(static_cast<int64_t>(x.count()));
  call.run(call.table.groupNorm,
           GroupNormArgs{source(call, x, y), call.integer("n"), call.integer("rows"), call.integer("c"), call.integer("groups"),
                         call.number("eps"), gamma.data(), beta.data(), call.flag("silu"), y.data(), xLow.data()});
  return call.result(y);
}

Napi::Value layerNorm(const OpCall& call) {
  const Activations x = call.activations("x"), xLow = call.activations("xLow");
  const Input gamma(call.args, "gamma"), beta(call.args, "beta");
  const Guarded y = call.output(static_cast<int64_t>(x.count()));
  call.run(call.table.layerNorm, LayerNormArgs{source(call, x, y), call.integer("rows"), call.integer("c"), call.number("eps"),
                                               gamma.data(), beta.data(), y.data(), xLow.data()});
  return call.result(y);
}

}  // namespace

void addNormOps(OpMap& map) {
  map["groupNorm"] = groupNorm;
  map["layerNorm"] = layerNorm;
}

}  // namespace asdm::testing

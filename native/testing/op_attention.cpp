#include "testing/op_runner.h"

namespace asdm::testing {

namespace {

// q, k, v hold exactly their rows: (rows - 1) * ld + width floats, so that a sanitizer build sees any read past the last one. Rows of
// the result are ldo apart; what lies between them stays NaN.
Napi::Value attention(const OpCall& call) {
  const Activations q = call.activations("q"), k = call.activations("k"), v = call.activations("v");
  AttentionArgs args{};
  args.batch = call.integer("batch");
  args.heads = call.integer("heads");
  args.qLength = call.integer("qLength");
  args.kLength = call.integer("kLength");
  args.headDim = call.integer("headDim");
  const int64_t width = args.heads * args.headDim;
  args.q = q.data();
  args.k = k.data();
  args.v = v.data();
  args.ldq = call.integerOr("ldq", width);
  args.ldk = call.integerOr("ldk", width);
  args.ldv = call.integerOr("ldv", width);
  args.ldo = call.integerOr("ldo", width);
  args.scale = call.number("scale");
  args.causal = call.flag("causal");
  const Guarded o = call.output((args.batch * args.qLength - 1) * args.ldo + width);
  args.o = o.data();
  call.run(call.table.attention, args);
  return call.result(o);
}

}  // namespace

void addAttentionOps(OpMap& map) { map["attention"] = attention; }

}  // namespace asdm::testing

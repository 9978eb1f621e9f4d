#include "testing/op_runner.h"

namespace asdm::testing {

namespace {

Napi::Value activation(const OpCall& call) {
  const Activations x = call.activations("x");
  const Guarded y = call.output(static_cast<int64_t>(x.count()));
  call.run(call.table.activation, ActivationArgs{x.data(), static_cast<int64_t>(x.count()), call.activation("activation"), y.data()});
  return call.result(y);
}

Napi::Value add(const OpCall& call) {
  const Activations a = call.activations("a"), b = call.activations("b"), aLow = call.activations("aLow"), bLow = call.activations("bLow");
  const int64_t count = static_cast<int64_t>(a.count());
  const Guarded y = call.output(count), yLow = call.output(count);
  const bool low = call.flag("low");
  call.run(call.table.add, AddArgs{a.data(), b.data(), count, y.data(), aLow.data(), bLow.data(), low ? yLow.data() : nullptr});
  return low ? call.both(y, yLow) : call.result(y);
}

Napi::Value geglu(const OpCall& call) {
  const Activations x = call.activations("x");
  const int64_t rows = call.integer("rows"), inner = call.integer("inner");
  const Guarded y = call.output(rows * inner);
  call.run(call.table.geglu, GegluArgs{x.data(), rows, inner, y.data()});
  return call.result(y);
}

Napi::Value concat(const OpCall& call) {
  const Activations a = call.activations("a"), b = call.activations("b"), aLow = call.activations("aLow"), bLow = call.activations("bLow");
  const int64_t rows = call.integer("rows"), ca = call.integer("ca"), cb = call.integer("cb");
  // yCount: a deliberately short output, by which a test sees that the guard works.
  const Guarded y = call.output(call.integerOr("yCount", rows * (ca + cb)));
  const Guarded yLow = call.output(rows * (ca + cb));
  const bool low = call.flag("low");
  call.run(call.table.concat,
           ConcatArgs{a.data(), b.data(), rows, ca, cb, y.data(), aLow.data(), bLow.data(), low ? yLow.data() : nullptr});
  return low ? call.both(y, yLow) : call.result(y);
}

Napi::Value timestep(const OpCall& call) {
  const Input t(call.args, "t");
  const int64_t dim = call.integer("dim");
  const Guarded y = call.output(static_cast<int64_t>(t.count()) * dim);
  call.run(call.table.timestep,
           TimestepArgs{t.data(), static_cast<int64_t>(t.count()), dim, call.flag("flip"), call.number("freqShift"), y.data()});
  return call.result(y);
}

Napi::Value embed(const OpCall& call) {
  const Napi::Int32Array source = call.args.Get("ids").As<Napi::Int32Array>();
  const std::vector<int32_t> ids(source.Data(), source.Data() + source.ElementLength());
  const Activations token(call.args, "token", call.table.activations), position(call.args, "position", call.table.activations);
  const int64_t batch = call.integer("batch"), length = call.integer("length"), width = call.integer("width");
  const Guarded y = call.output(batch * length * width);
  call.run(call.table.embed, EmbedArgs{ids.data(), batch, length, width, token.data(), position.data(), y.data()});
  return call.result(y);
}

// What is channels first is float in any table.
Napi::Value layout(const OpCall& call, const Kernel<LayoutArgs>& kernel, DType from, DType to) {
  const Activations x(call.args, "x", from);
  const Guarded y(x.count() * static_cast<size_t>(dtypeBytes(to)));
  const Guarded yLow(y.bytes());
  const bool low = call.flag("low");  // of activations only
  call.run(kernel,
           LayoutArgs{x.data(), call.integer("n"), call.integer("c"), call.integer("pixels"), y.data(), low ? yLow.data() : nullptr});
  return low ? call.both(y, yLow) : call.values(y, to);
}

Napi::Value toChannelsLast(const OpCall& call) { return layout(call, call.table.toChannelsLast, DType::F32, call.table.activations); }
Napi::Value toChannelsFirst(const OpCall& call) { return layout(call, call.table.toChannelsFirst, call.table.activations, DType::F32); }

// last and before may have low parts, lastLow and beforeLow; low: gives y's behind it.
Napi::Value line(const OpCall& call) {
  const Activations last = call.activations("last"), before = call.activations("before");
  const Activations lastLow = call.activations("lastLow"), beforeLow = call.activations("beforeLow");
  const int64_t count = static_cast<int64_t>(last.count());
  const Guarded y = call.output(count), yLow = call.output(count);
  const bool low = call.flag("low");
  call.run(call.table.line, LineArgs{last.data(), before.data(), count, call.number("slope"), y.data(), lastLow.data(), beforeLow.data(),
                                     low ? yLow.data() : nullptr});
  return low ? call.both(y, yLow) : call.result(y);
}

// Gives the sums as [difference, size], added to `start`, rounded to float.
Napi::Value change(const OpCall& call) {
  const Activations now = call.activations("now"), before = call.activations("before");
  const Guarded sums(2 * sizeof(double));
  double* const values = reinterpret_cast<double*>(sums.data());
  values[0] = values[1] = call.number("start");
  call.run(call.table.change, ChangeArgs{now.data(), before.data(), static_cast<int64_t>(now.count()), values});
  const Guarded rounded(2 * sizeof(float));
  for (int i = 0; i < 2; i++) rounded.floats()[i] = static_cast<float>(values[i]);
  if (!sums.intact()) throw Napi::Error::New(call.env, "kernel wrote outside its output");
  return call.values(rounded, DType::F32);
}

Napi::Value copy(const OpCall& call) {
  const Activations x = call.activations("x");
  const Guarded y = call.output(static_cast<int64_t>(x.count()));
  call.run(call.table.copy, CopyArgs{x.data(), static_cast<int64_t>(y.bytes()), y.data()});
  return call.result(y);
}

}  // namespace

void addElementwiseOps(OpMap& map) {
  map["activation"] = activation;
  map["add"] = add;
  map["geglu"] = geglu;
  map["concat"] = concat;
  map["timestep"] = timestep;
  map["embed"] = embed;
  map["toChannelsLast"] = toChannelsLast;
  map["toChannelsFirst"] = toChannelsFirst;
  map["line"] = line;
  map["change"] = change;
  map["copy"] = copy;
}

}  // namespace asdm::testing

#include "napi/graph.h"

namespace asdm::napi {

namespace {

napi_value boolean(napi_env env, bool value) {
  napi_value result;
  check(env, napi_get_boolean(env, value, &result));
  return result;
}

napi_value number(napi_env env, int64_t value) { return napi::number(env, static_cast<double>(value)); }

napi_value array(napi_env env, size_t length) {
  napi_value result;
  check(env, napi_create_array_with_length(env, length, &result));
  return result;
}

napi_value ids(napi_env env, const std::vector<UnitId>& list) {
  const napi_value result = array(env, list.size());
  for (size_t i = 0; i < list.size(); i++)
    check(env, napi_set_element(env, result, static_cast<uint32_t>(i), number(env, int64_t{list[i]})));
  return result;
}

const char* name(Layout layout) {
  switch (layout) {
    case Layout::Same: return "same";
    case Layout::ToSequence: return "sequence";
    case Layout::ToMap: return "map";
  }
  return "";
}

const char* name(Activation activation) {
  switch (activation) {
    case Activation::None: return "none";
    case Activation::Silu: return "silu";
    case Activation::Gelu: return "gelu";
    case Activation::QuickGelu: return "quick_gelu";
    case Activation::Relu: return "relu";
    case Activation::SoftClamp: return "soft_clamp";
    case Activation::FromSigned: return "from_signed";
    case Activation::ToSigned: return "to_signed";
  }
  return "";
}

napi_value attributes(napi_env env, const Attributes& a) {
  const napi_value value = object(env);
  set(env, value, "kernel", number(env, a.kernel));
  set(env, value, "stride", number(env, a.stride));
  set(env, value, "padBefore", number(env, a.padBefore));
  set(env, value, "padAfter", number(env, a.padAfter));
  set(env, value, "doubleSize", boolean(env, a.doubleSize));
  if (a.sizeOf != kNoUnit) set(env, value, "sizeOf", number(env, int64_t{a.sizeOf}));
  set(env, value, "layout", string(env, name(a.layout)));
  set(env, value, "groups", number(env, a.groups));
  set(env, value, "eps", napi::number(env, static_cast<double>(a.eps)));
  set(env, value, "silu", boolean(env, a.silu));
  set(env, value, "activation", string(env, name(a.activation)));
  set(env, value, "heads", number(env, a.heads));
  set(env, value, "headDim", number(env, a.headDim));
  set(env, value, "qColumn", number(env, a.qColumn));
  set(env, value, "kColumn", number(env, a.kColumn));
  set(env, value, "vColumn", number(env, a.vColumn));
  set(env, value, "causal", boolean(env, a.causal));
  set(env, value, "dim", number(env, a.dim));
  set(env, value, "flip", boolean(env, a.flip));
  set(env, value, "freqShift", napi::number(env, static_cast<double>(a.freqShift)));
  set(env, value, "experts", number(env, a.experts));
  set(env, value, "routing", string(env, a.routing == Routing::Softmax ? "softmax" : "sigmoid"));
  return value;
}

// Lists of lists: what each operand of the unit is made of.
napi_value weights(napi_env env, const Graph& graph, const Unit& unit) {
  const napi_value list = array(env, unit.weights.size());
  for (size_t w = 0; w < unit.weights.size(); w++) {
    const std::vector<WeightPart>& parts = graph.weights[static_cast<size_t>(unit.weights[w])].parts;
    const napi_value rows = array(env, parts.size());
    for (size_t p = 0; p < parts.size(); p++) {
      const napi_value row = object(env);
      set(env, row, "name", string(env, parts[p].name));
      set(env, row, "shape", shape(env, parts[p].shape));
      check(env, napi_set_element(env, rows, static_cast<uint32_t>(p), row));
    }
    check(env, napi_set_element(env, list, static_cast<uint32_t>(w), rows));
  }
  return list;
}

}  // namespace

napi_value graphInfo(napi_env env, const Graph& graph) {
  const napi_value units = array(env, graph.units.size());
  for (size_t i = 0; i < graph.units.size(); i++) {
    const Unit& unit = graph.units[i];
    const napi_value row = object(env);
    set(env, row, "name", string(env, unit.name));
    set(env, row, "op", string(env, opInfo(unit.op).name));
    set(env, row, "inputs", ids(env, unit.inputs));
    set(env, row, "weights", weights(env, graph, unit));
    set(env, row, "attributes", attributes(env, unit.attributes));
    check(env, napi_set_element(env, units, static_cast<uint32_t>(i), row));
  }
  const napi_value value = object(env);
  set(env, value, "units", units);
  set(env, value, "outputs", ids(env, graph.outputs));
  return value;
}

}  // namespace asdm::napi

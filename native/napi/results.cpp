#include "napi/results.h"

#include <algorithm>
#include <cstring>

namespace asdm::napi {

napi_value loadResult(napi_env env, const LoadResult& result) {
  const napi_value value = object(env);
  set(env, value, "nonFinite", strings(env, result.nonFinite));
  set(env, value, "weightBytes", number(env, static_cast<double>(result.weightBytes)));
  constexpr const char* kOutcomes[] = {"off", "used", "written", "replaced", "unwritten"};
  set(env, value, "cache", string(env, kOutcomes[static_cast<int>(result.cache)]));
  set(env, value, "cacheNote", string(env, result.cacheNote));
  return value;
}

napi_value weightRequests(napi_env env, const std::vector<WeightRequest>& requests) {
  napi_value array;
  check(env, napi_create_array_with_length(env, requests.size(), &array));
  for (size_t i = 0; i < requests.size(); i++) {
    const napi_value row = object(env);
    set(env, row, "name", string(env, requests[i].name));
    set(env, row, "shape", shape(env, requests[i].shape));
    check(env, napi_set_element(env, array, static_cast<uint32_t>(i), row));
  }
  return array;
}

napi_value numbers(napi_env env, const std::vector<double>& values) {
  napi_value array;
  check(env, napi_create_array_with_length(env, values.size(), &array));
  for (size_t i = 0; i < values.size(); i++) check(env, napi_set_element(env, array, static_cast<uint32_t>(i), number(env, values[i])));
  return array;
}

namespace {

template <class Item, class Make>
napi_value list(napi_env env, const std::vector<Item>& items, const Make& make) {
  napi_value array;
  check(env, napi_create_array_with_length(env, items.size(), &array));
  for (size_t i = 0; i < items.size(); i++) check(env, napi_set_element(env, array, static_cast<uint32_t>(i), make(items[i])));
  return array;
}

napi_value counted(napi_env env, uint64_t value) { return number(env, static_cast<double>(value)); }

napi_value runPass(napi_env env, const RunPassInfo& pass) {
  const napi_value row = object(env);
  set(env, row, "program", counted(env, pass.program));
  set(env, row, "macs", counted(env, pass.macs));
  set(env, row, "units", counted(env, pass.units));
  set(env, row, "inherited", list(env, pass.inherited, [&](const InheritedInfo& value) {
        const napi_value entry = object(env);
        set(env, entry, "name", string(env, value.name));
        set(env, entry, "source", number(env, value.source));
        set(env, entry, "unet", counted(env, value.unet));
        return entry;
      }));
  return row;
}

}  // namespace

napi_value runInfo(napi_env env, const RunInfo& info) {
  const napi_value told = object(env);
  set(env, told, "steps", list(env, info.steps, [&](const RunStepInfo& step) {
        const napi_value row = object(env);
        set(env, row, "unet", counted(env, step.unet));
        if (step.probed) set(env, row, "probe", counted(env, step.probe));
        set(env, row, "variants", list(env, step.variants, [&](const RunPassInfo& pass) { return runPass(env, pass); }));
        return row;
      }));
  set(env, told, "programs", list(env, info.programs, [&](const std::vector<std::string>& names) { return strings(env, names); }));
  set(env, told, "units", list(env, info.units, [&](const std::vector<std::string>& names) { return strings(env, names); }));
  set(env, told, "fullMacs", list(env, info.fullMacs, [&](uint64_t macs) { return counted(env, macs); }));
  set(env, told, "constants", list(env, info.constants, [&](const ConstantInfo& constants) {
        const napi_value row = object(env);
        set(env, row, "bytes", counted(env, constants.bytes));
        set(env, row, "macs", counted(env, constants.macs));
        set(env, row, "fullMacs", counted(env, constants.fullMacs));
        return row;
      }));
  set(env, told, "keptBytes", counted(env, info.keptBytes));
  return told;
}

napi_value programInfo(napi_env env, const ProgramInfo& info) {
  napi_value units;
  check(env, napi_create_array_with_length(env, info.units.size(), &units));
  for (size_t i = 0; i < info.units.size(); i++) {
    const UnitRow& unit = info.units[i];
    const napi_value row = object(env);
    set(env, row, "name", string(env, unit.name));
    set(env, row, "op", string(env, unit.op));
    set(env, row, "shape", shape(env, unit.shape));
    set(env, row, "parameters", number(env, static_cast<double>(unit.parameters)));
    set(env, row, "macs", number(env, static_cast<double>(unit.macs)));
    check(env, napi_set_element(env, units, static_cast<uint32_t>(i), row));
  }
  const napi_value value = object(env);
  set(env, value, "units", units);
  set(env, value, "parameters", number(env, static_cast<double>(info.parameters)));
  set(env, value, "macs", number(env, static_cast<double>(info.macs)));
  set(env, value, "arenaBytes", number(env, static_cast<double>(info.arenaBytes)));
  set(env, value, "scratchBytes", number(env, static_cast<double>(info.scratchBytes)));
  return value;
}

napi_value floatArray(Environment& state, const float* values, size_t count) {
  const napi_value array = state.newArray(count);
  void* data = nullptr;
  check(state.env(), napi_get_typedarray_info(state.env(), array, nullptr, nullptr, &data, nullptr, nullptr));
  if (count != 0) std::memcpy(data, values, count * sizeof(float));
  return array;
}

napi_value tensor(Environment& state, const HostTensor& host, const std::vector<LargeOutput>& large) {
  const napi_env env = state.env();
  const auto copied = std::find_if(large.begin(), large.end(), [&](const LargeOutput& output) { return output.from == &host; });
  napi_value array;
  if (copied != large.end()) check(env, napi_get_reference_value(env, copied->array, &array));
  else array = floatArray(state, host.data.data(), host.data.size());
  const napi_value value = object(env);
  set(env, value, "data", array);
  set(env, value, "shape", shape(env, host.shape));
  return value;
}

namespace {

napi_value callRows(napi_env env, const std::vector<CallRow>& calls) {
  napi_value rows;
  check(env, napi_create_array_with_length(env, calls.size(), &rows));
  for (size_t i = 0; i < calls.size(); i++) {
    const CallRow& call = calls[i];
    const napi_value row = object(env);
    set(env, row, "name", string(env, call.name));
    set(env, row, "op", string(env, call.op));
    set(env, row, "result", string(env, call.result));
    set(env, row, "input", shape(env, call.input));
    set(env, row, "shape", shape(env, call.shape));
    set(env, row, "dtype", string(env, call.dtype));
    set(env, row, "macs", number(env, static_cast<double>(call.macs)));
    set(env, row, "weightBytes", number(env, static_cast<double>(call.weightBytes)));
    set(env, row, "valueBytes", number(env, static_cast<double>(call.valueBytes)));
    set(env, row, "ms", number(env, call.seconds * 1e3));
    check(env, napi_set_element(env, rows, static_cast<uint32_t>(i), row));
  }
  return rows;
}

}  // namespace

std::vector<LargeOutput> largeOutputs(ForwardOutputs& outputs) {
  std::vector<LargeOutput> large;
  const auto add = [&](HostTensor& tensor) {
    if (tensor.data.size() * sizeof(float) > kOutputBytes) large.push_back({&tensor});
  };
  add(outputs.sample);
  for (auto& tap : outputs.taps) add(tap.second);
  return large;
}

napi_value forwardOutputs(Environment& state, const ForwardOutputs& outputs, const std::vector<LargeOutput>& large) {
  const napi_env env = state.env();
  const napi_value taps = object(env);
  for (const auto& [name, host] : outputs.taps) set(env, taps, name.c_str(), tensor(state, host, large));
  const napi_value value = object(env);
  set(env, value, "sample", tensor(state, outputs.sample, large));
  set(env, value, "taps", taps);
  set(env, value, "calls", callRows(env, outputs.calls));
  return value;
}

}  // namespace asdm::napi

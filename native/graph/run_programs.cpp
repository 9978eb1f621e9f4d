#include <algorithm>

#include "core/memory.h"
#include "graph/macs.h"
#include "graph/run_compiler.h"

namespace asdm {

void RunCompiler::placeProbes() {
  std::vector<bool> used(request.unets.size());
  bool halves = false;
  for (const RunStep& step : request.steps) {
    if (step.probe) used[step.unet] = true;
    halves = halves || step.conditionalOnly;
  }
  for (size_t n = 0; n < request.unets.size(); n++) {
    if (!used[n]) continue;
    for (const std::vector<UnitId>& values : probeValues[n]) {
      std::vector<ProbedValue> probe;
      for (UnitId value : values) {
        const uint64_t whole = valueBytes(n, value), bytes = halves ? whole / 2 : whole;
        probe.push_back({slots.place({n, value}).offset + (whole - bytes), made.keptBytes,
                         bytes / static_cast<uint64_t>(dtypeBytes(full[n].activations))});
        made.keptBytes += alignUp(bytes, alignment);
      }
      made.unets[n].probes.push_back(std::move(probe));
    }
  }
}

void RunCompiler::placeHistories() {
  if (!request.continued) return;
  for (size_t number = 0; number < slots.count(); number++) {
    const auto [unet, unit] = slots.valueOf(number);
    const uint64_t bytes = valueBytes(unet, unit);
    KeptHistory history;
    history.dtype = full[unet].activations;
    history.count = bytes / static_cast<uint64_t>(dtypeBytes(history.dtype));
    history.now = {slots.place(number).offset, slots.place(number).low};
    const auto take = [&] {
      const uint64_t offset = made.keptBytes;
      made.keptBytes += alignUp(bytes, alignment);
      return offset;
    };
    for (KeptHistory::Copy& copy : history.computed) {
      copy.offset = take();
      if (history.now.low) copy.low = take();
    }
    made.histories.push_back(history);
  }
}

Status RunCompiler::placeConstants() {
  for (size_t n = 0; n < request.unets.size(); n++) {
    const RunUNet& unet = request.unets[n];
    PlannedUNet& planned = made.unets[n];
    RequestConstants& constants = planned.constants;
    ASDM_TRY(compileConstants(*unet.graph, *unet.table, unet.inputs, unet.halfInputs, unet.threads, made.keptBytes + made.constantBytes,
                              &constants));
    made.constantBytes += constants.bytes;
    const std::vector<bool> constant = constantUnits(*unet.graph);
    planned.units.erase(
        std::remove_if(planned.units.begin(), planned.units.end(), [&](UnitId u) { return constant[static_cast<size_t>(u)]; }),
        planned.units.end());
    planned.fullMacs -= constants.macs;
    planned.constantMacs = constantMacs(n);
  }
  return Status::good();
}

uint64_t RunCompiler::constantMacs(size_t unet) const {
  bool any = false, halfFirst = false, whole = false;
  for (const RunStep& step : request.steps) {
    if (step.unet != unet) continue;
    if (!any) halfFirst = step.conditionalOnly;
    any = true;
    whole = whole || !step.conditionalOnly;
  }
  const uint64_t macs = made.unets[unet].constants.macs;
  return (halfFirst ? macs / 2 : 0) + (whole ? macs : 0);
}

Status RunCompiler::addProgram(size_t s, size_t number, const std::vector<UnitId>& read, PlannedPass* pass) {
  const RunStep& step = request.steps[s];
  const RunUNet& unet = request.unets[step.unet];
  const bool isProbe = number == KeptSlots::kProbe, half = step.conditionalOnly;
  const auto at = [&](UnitId value, uint64_t offset) { return offset + (half ? valueBytes(step.unet, value) / 2 : 0); };
  const auto handedOn = [&](UnitId value, const KeptSlots::Place& place, bool inherited) {
    KeptValue kept{value, at(value, place.offset), inherited};
    if (place.low) kept.low = at(value, *place.low);
    return kept;
  };
  std::vector<KeptValue> values;
  for (UnitId value : read) values.push_back(handedOn(value, slots.place({step.unet, value}), true));
  for (const auto& [value, places] : slots.kept(s, number)) {
    const KeptValue first = handedOn(value, places[0], false);
    values.push_back(first);
    const uint64_t bytes = valueBytes(step.unet, value) / (half ? 2 : 1);
    for (size_t i = 1; i < places.size(); i++) {
      pass->copies.push_back({first.offset, at(value, places[i].offset), bytes});
      if (places[i].low) pass->copies.push_back({*first.low, at(value, *places[i].low), bytes});
    }
  }
  if (request.continued) pass->notes = slots.keptNumbers(s, number);
  // The place says whether there is a low part.
  std::vector<std::tuple<UnitId, uint64_t, bool>> handed;
  for (const KeptValue& value : values) handed.emplace_back(value.unit, value.offset, value.inherited);
  const auto key = std::make_tuple(step.unet, half, isProbe, handed);
  const auto found = distinct.find(key);
  if (found != distinct.end()) {
    pass->program = found->second;
  } else {
    CompileRequest one{half ? unet.halfInputs : unet.inputs, isProbe ? std::vector<UnitId>() : unet.graph->outputs, unet.threads, true, {}};
    const RequestConstants& constants = made.unets[step.unet].constants;
    for (const KeptValue& constant : half ? constants.half : constants.whole) {
      // One that a plan hands on by its own name is a feature like others.
      const auto same = [&](const KeptValue& value) { return value.unit == constant.unit; };
      if (std::none_of(values.begin(), values.end(), same)) one.kept.push_back(constant);
    }
    one.kept.insert(one.kept.end(), values.begin(), values.end());
    Program program;
    ASDM_TRY(compile(*unet.graph, *unet.table, one, &program));
    pass->program = made.programs.size();
    distinct.emplace(key, pass->program);
    made.programs.push_back(std::move(program));
  }
  const Program& program = made.programs[pass->program];
  pass->units = program.units.size();
  for (UnitId u : program.units) pass->macs += unitMacs(*unet.graph, u, program.shapes);
  return Status::good();
}

Status RunCompiler::addPrograms() {
  for (size_t s = 0; s < request.steps.size(); s++) {
    PlannedStep& planned = made.steps[s];
    if (request.steps[s].probe) ASDM_TRY(addProgram(s, KeptSlots::kProbe, {}, &planned.probe));
    for (size_t k = 0; k < planned.variants.size(); k++) {
      ASDM_TRY(goOn());
      std::vector<UnitId> read;
      for (size_t u = 0; u < variants[s][k].reach.read.size(); u++)
        if (variants[s][k].reach.read[u]) read.push_back(static_cast<UnitId>(u));
      ASDM_TRY(addProgram(s, k, read, &planned.variants[k]));
      planned.variants[k].macs += planned.probe.macs;
      planned.variants[k].units += planned.probe.units;
    }
  }
  return Status::good();
}

}  // namespace asdm

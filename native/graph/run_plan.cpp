#include "graph/run_plan.h"

#include <algorithm>

#include "graph/low_parts.h"
#include "graph/macs.h"
#include "graph/run_compiler.h"

namespace asdm {

Status RunCompiler::start() {
  for (const RunUNet& unet : request.unets) {
    Program program;
    ASDM_TRY(compile(*unet.graph, *unet.table, CompileRequest{unet.inputs, unet.graph->outputs, unet.threads, true, {}}, &program));
    PlannedUNet planned;
    planned.activations = program.activations;
    planned.units = program.units;
    for (UnitId u : program.units) planned.fullMacs += unitMacs(*unet.graph, u, program.shapes);
    made.unets.push_back(std::move(planned));
    low.push_back(lowParts(*unet.graph, program.activations));
    full.push_back(std::move(program));

    std::vector<std::vector<UnitId>> values;
    std::vector<UnitId> all;
    for (const Inherit& probe : unet.probes) {
      values.emplace_back();
      ASDM_TRY(inheritedValues(*unet.graph, probe, &values.back()));
      all.insert(all.end(), values.back().begin(), values.back().end());
    }
    std::vector<bool> run = reach(*unet.graph, all, {}).run;
    for (UnitId input : unet.graph->inputs) run[static_cast<size_t>(input)] = false;  // given anew, not kept
    const std::vector<bool> constant = constantUnits(*unet.graph);
    for (size_t u = 0; u < run.size(); u++) run[u] = run[u] && !constant[u];
    probed.push_back(std::move(run));
    probeValues.push_back(std::move(values));
  }
  return Status::good();
}

Status RunCompiler::joinMaps() {
  for (size_t m = 0; m < request.maps.size(); m++) {
    const RunMap& map = request.maps[m];
    const std::string name = "maps[" + std::to_string(map.number) + "]";
    std::vector<UnitId> from, to;
    for (const auto& [unet, inherit, values] : {std::make_tuple(map.from, &map.source, &from), std::make_tuple(map.to, &map.target, &to)}) {
      Status status = inheritedValues(*request.unets[unet].graph, *inherit, values);
      if (!status.ok()) return {status.code, status.message + " in " + name};
    }
    if (from.size() != to.size())
      return {Code::InvalidArgument, "Expected " + name + " to join prefixes of equally many values but \"" +
                                         map.source.prefix.substr(0, 120) + "\" has " + std::to_string(from.size()) + " and \"" +
                                         map.target.prefix.substr(0, 120) + "\" " + std::to_string(to.size())};
    if (full[map.from].activations != full[map.to].activations)
      return {Code::InvalidArgument, "Expected " + name + " to join UNets of one number format but received " +
                                         dtypeName(full[map.from].activations) + " and " + dtypeName(full[map.to].activations)};
    for (size_t i = 0; i < from.size(); i++) {
      const Shape &a = full[map.from].shapes[static_cast<size_t>(from[i])], &b = full[map.to].shapes[static_cast<size_t>(to[i])];
      if (a != b)
        return {Code::ShapeMismatch, "Expected " + name + " to join values of the same shape but " +
                                         (*request.unets[map.from].graph)[from[i]].name + " is " + a.text() + " and " +
                                         (*request.unets[map.to].graph)[to[i]].name + " is " + b.text()};
      if (!slots.join({map.from, from[i]}, {map.to, to[i]}))
        return {Code::InvalidArgument, "Expected " + name + " to give " + (*request.unets[map.to].graph)[to[i]].name +
                                           " one value of each UNet but another map does so too"};
    }
  }
  return Status::good();
}

Status RunCompiler::valuesOf(size_t s, const Inherit& inherit, const std::vector<UnitId>** values) {
  const auto key = std::make_tuple(request.steps[s].unet, inherit.prefix, inherit.branch);
  auto found = known.find(key);
  if (found == known.end()) {
    std::vector<UnitId> fresh;
    Status status = inheritedValues(graphOf(s), inherit, &fresh);
    if (!status.ok()) return {status.code, status.message + " at step " + std::to_string(s)};
    found = known.emplace(key, std::move(fresh)).first;
  }
  *values = &found->second;
  return Status::good();
}

std::vector<const Inherit*> RunCompiler::inheritsOf(const RunStep& step, size_t variant) {
  std::vector<const Inherit*> list;
  for (const Inherit& inherit : step.inherit) list.push_back(&inherit);
  for (size_t c = 0; c < step.choices.size(); c++)
    if ((variant >> c & 1) != 0)
      for (const Inherit& inherit : step.choices[c]) list.push_back(&inherit);
  return list;
}

Status RunCompiler::resolve() {
  for (size_t s = 0; s < request.steps.size(); s++) {
    const RunStep& step = request.steps[s];
    std::vector<Variant> list(size_t{1} << step.choices.size());
    for (size_t k = 0; k < list.size(); k++) {
      std::vector<UnitId>& inherited = list[k].inherited;
      for (const Inherit* inherit : inheritsOf(step, k)) {
        const std::vector<UnitId>* values = nullptr;
        ASDM_TRY(valuesOf(s, *inherit, &values));
        for (UnitId value : *values)
          if (!isProbed(s, value)) inherited.push_back(value);
      }
      std::sort(inherited.begin(), inherited.end());
      inherited.erase(std::unique(inherited.begin(), inherited.end()), inherited.end());
      ASDM_TRY(goOn());
      list[k].reach = reachOf(s, inherited);
      while (request.computeMissing && dropMissing(s, &list[k])) list[k].reach = reachOf(s, inherited);
    }
    variants.push_back(std::move(list));
    if (request.computeMissing) noteComputed(s);
  }
  return Status::good();
}

Reach RunCompiler::reachOf(size_t s, std::vector<UnitId> given) const {
  const Graph& graph = graphOf(s);
  for (UnitId u = 0; u < graph.size(); u++)
    if (isProbed(s, u)) given.push_back(u);
  return reach(graph, graph.outputs, given);
}

bool RunCompiler::dropMissing(size_t s, Variant* variant) const {
  const size_t unet = request.steps[s].unet;
  const auto isComputed = [&](KeptSlots::Value value, int half) {
    const auto& ofUNets = computed[half];
    return value.first < ofUNets.size() && !ofUNets[value.first].empty() && ofUNets[value.first][static_cast<size_t>(value.second)];
  };
  const auto missing = [&](UnitId value) {
    if (!variant->reach.read[static_cast<size_t>(value)]) return false;
    const std::vector<KeptSlots::Value> others = slots.standIns({unet, value});
    for (int half = request.steps[s].conditionalOnly ? 1 : 0; half < 2; half++)
      if (!isComputed({unet, value}, half) &&
          std::none_of(others.begin(), others.end(), [&](KeptSlots::Value other) { return isComputed(other, half); }))
        return true;
    return false;
  };
  std::vector<UnitId>& list = variant->inherited;
  const size_t before = list.size();
  list.erase(std::remove_if(list.begin(), list.end(), missing), list.end());
  return list.size() < before;
}

void RunCompiler::noteComputed(size_t s) {
  const size_t unet = request.steps[s].unet;
  for (int half = request.steps[s].conditionalOnly ? 1 : 0; half < 2; half++) {
    computed[half].resize(request.unets.size());
    std::vector<bool>& units = computed[half][unet];
    units.resize(static_cast<size_t>(graphOf(s).size()));
    for (UnitId u = 0; u < graphOf(s).size(); u++) {
      const auto runs = [&](const Variant& variant) { return static_cast<bool>(variant.reach.run[static_cast<size_t>(u)]); };
      if (isProbed(s, u) || std::all_of(variants[s].begin(), variants[s].end(), runs)) units[static_cast<size_t>(u)] = true;
    }
  }
}

Status RunCompiler::noSource(size_t s, size_t variant, UnitId value, int half) {
  std::string prefix;
  for (const Inherit* inherit : inheritsOf(request.steps[s], variant)) {
    const std::vector<UnitId>& values = known.at(std::make_tuple(request.steps[s].unet, inherit->prefix, inherit->branch));
    if (std::find(values.begin(), values.end(), value) == values.end()) continue;
    prefix = inherit->prefix.substr(0, 120);
    break;
  }
  return {Code::InvalidArgument, "Expected an earlier step to have computed " + graphOf(s)[value].name + ", which step " +
                                     std::to_string(s) + " inherits by \"" + prefix + "\"" +
                                     (half == 0 ? " for the unconditional half" : "") + ", but none did"};
}

void RunCompiler::openSlots() {
  const auto hasLow = [&](const KeptSlots::Value& value) { return static_cast<bool>(low[value.first][static_cast<size_t>(value.second)]); };
  const auto open = [&](size_t unet, UnitId value) { slots.open({unet, value}, valueBytes(unet, value), hasLow); };
  for (size_t s = 0; s < variants.size(); s++)
    for (const Variant& variant : variants[s])
      for (size_t u = 0; u < variant.reach.read.size(); u++)
        if (variant.reach.read[u]) open(request.steps[s].unet, static_cast<UnitId>(u));
  for (const RunStep& step : request.steps)
    if (step.probe)
      for (const std::vector<UnitId>& values : probeValues[step.unet])
        for (UnitId value : values) open(step.unet, value);
}

Status RunCompiler::findSources() {
  for (size_t s = 0; s < request.steps.size(); s++) {
    const RunStep& step = request.steps[s];
    ASDM_TRY(goOn());
    PlannedStep planned;
    const int firstHalf = step.conditionalOnly ? 1 : 0;
    for (size_t k = 0; k < variants[s].size(); k++) {
      PlannedPass pass;
      for (UnitId value : variants[s][k].inherited) {
        if (!variants[s][k].reach.read[static_cast<size_t>(value)]) continue;
        for (int half = firstHalf; half < 2; half++) {
          const KeptSlots::Source* source = slots.read({step.unet, value}, half);
          if (source == nullptr) return noSource(s, k, value, half);
          if (half == 1) pass.inherited.push_back({value, static_cast<int>(source->step), source->unet});
        }
        if (request.continued) pass.continues.push_back(slots.number({step.unet, value}));
      }
      planned.variants.push_back(std::move(pass));
    }
    slots.compute(
        s, step.unet, firstHalf,
        [&](UnitId unit, size_t pass) {
          return pass == KeptSlots::kProbe ? isProbed(s, unit)
                                           : pass < variants[s].size() && variants[s][pass].reach.run[static_cast<size_t>(unit)];
        },
        variants[s].size());
    if (step.probe) keepProbed(s);
    made.steps.push_back(std::move(planned));
  }
  return Status::good();
}

void RunCompiler::keepProbed(size_t s) {
  const RunStep& step = request.steps[s];
  for (const Variant& variant : variants[s])
    for (size_t u = 0; u < variant.reach.read.size(); u++)
      if (variant.reach.read[u] && isProbed(s, static_cast<UnitId>(u)))
        slots.keep(s, KeptSlots::kProbe, {step.unet, static_cast<UnitId>(u)});
  for (const std::vector<UnitId>& values : probeValues[step.unet])
    for (UnitId value : values) slots.keep(s, KeptSlots::kProbe, {step.unet, value});
}

Status compileRun(const RunRequest& request, const std::atomic<bool>& cancel, RunPlan* plan) {
  RunPlan made;
  RunCompiler compiler(request, cancel, made);
  ASDM_TRY(compiler.start());
  ASDM_TRY(compiler.joinMaps());
  ASDM_TRY(compiler.resolve());
  compiler.openSlots();
  ASDM_TRY(compiler.findSources());
  made.keptBytes = compiler.slots.bytes();
  compiler.placeProbes();
  compiler.placeHistories();
  ASDM_TRY(compiler.placeConstants());
  ASDM_TRY(compiler.addPrograms());
  *plan = std::move(made);
  return Status::good();
}

}  // namespace asdm

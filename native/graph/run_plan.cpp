#include "graph/run_plan.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "core/memory.h"
#include "graph/kept_slots.h"
#include "graph/low_parts.h"
#include "graph/reach.h"
#include "graph/macs.h"

namespace asdm {

namespace {

struct Variant {
  std::vector<UnitId> inherited;  // asked for, read or not; ascending
  Reach reach;
};

struct RunCompiler {
  RunCompiler(const RunRequest& r, const std::atomic<bool>& c, RunPlan& plan)
      : request(r), cancel(c), made(plan), alignment(r.unets[0].table->traits->alignment), slots(r.continued, alignment) {}

  const RunRequest& request;
  const std::atomic<bool>& cancel;
  RunPlan& made;
  const uint64_t alignment;  // of the device, which all of them run on
  std::vector<Program> full;                 // of each UNet
  std::vector<std::vector<bool>> low;        // of each UNet: values with a low part
  std::vector<std::vector<bool>> probed;     // of each UNet: units that its probes run
  std::vector<std::vector<std::vector<UnitId>>> probeValues;
  std::vector<std::vector<Variant>> variants;  // of each step
  KeptSlots slots;

  const Graph& graphOf(size_t step) const { return *request.unets[request.steps[step].unet].graph; }
  bool isProbed(size_t step, UnitId unit) const {
    return request.steps[step].probe && probed[request.steps[step].unet][static_cast<size_t>(unit)];
  }
  Status goOn() const {
    return cancel.load(std::memory_order_relaxed) ? Status{Code::Aborted, "The operation was aborted"} : Status::good();
  }
  uint64_t valueBytes(size_t unet, UnitId unit) const {
    return static_cast<uint64_t>(full[unet].shapes[static_cast<size_t>(unit)].count() * dtypeBytes(full[unet].activations));
  }

  // The whole pass of each UNet, and what its probes run.
  Status start() {
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

  Status joinMaps() {
    for (size_t m = 0; m < request.maps.size(); m++) {
      const RunMap& map = request.maps[m];
      const std::string name = "maps[" + std::to_string(map.number) + "]";
      std::vector<UnitId> from, to;
      for (const auto& [unet, inherit, values] :
           {std::make_tuple(map.from, &map.source, &from), std::make_tuple(map.to, &map.target, &to)}) {
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

  std::map<std::tuple<size_t, std::string, bool>, std::vector<UnitId>> known;  // plans repeat the same prefixes at most steps

  Status valuesOf(size_t s, const Inherit& inherit, const std::vector<UnitId>** values) {
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

  static std::vector<const Inherit*> inheritsOf(const RunStep& step, size_t variant) {
    std::vector<const Inherit*> list;
    for (const Inherit& inherit : step.inherit) list.push_back(&inherit);
    for (size_t c = 0; c < step.choices.size(); c++)
      if ((variant >> c & 1) != 0)
        for (const Inherit& inherit : step.choices[c]) list.push_back(&inherit);
    return list;
  }

  // What each variant of each step inherits and runs.
  Status resolve() {
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

  Reach reachOf(size_t s, std::vector<UnitId> given) const {
    const Graph& graph = graphOf(s);
    for (UnitId u = 0; u < graph.size(); u++)
      if (isProbed(s, u)) given.push_back(u);
    return reach(graph, graph.outputs, given);
  }

  // For computeMissing, of each half of the batch and each UNet: the values that some step so far computes whatever is chosen. A map
  // may hide a part of a UNet at its first step, and a later rule ask for something of that part.
  std::vector<std::vector<bool>> computed[2];

  // Takes out what a variant reads but nothing can hand on. What it computes instead may read more: to be repeated while it is true.
  bool dropMissing(size_t s, Variant* variant) const {
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

  void noteComputed(size_t s) {
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

  Status noSource(size_t s, size_t variant, UnitId value, int half) {
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

  // Every value that is read from the kept memory gets a place there.
  void openSlots() {
    const auto hasLow = [&](const KeptSlots::Value& value) {
      return static_cast<bool>(low[value.first][static_cast<size_t>(value.second)]);
    };
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

  // Goes through the steps in order: what each reads, then what it computes.
  Status findSources() {
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

  // What a probe hands to the rest of its own step, and what is measured.
  void keepProbed(size_t s) {
    const RunStep& step = request.steps[s];
    for (const Variant& variant : variants[s])
      for (size_t u = 0; u < variant.reach.read.size(); u++)
        if (variant.reach.read[u] && isProbed(s, static_cast<UnitId>(u)))
          slots.keep(s, KeptSlots::kProbe, {step.unet, static_cast<UnitId>(u)});
    for (const std::vector<UnitId>& values : probeValues[step.unet])
      for (UnitId value : values) slots.keep(s, KeptSlots::kProbe, {step.unet, value});
  }

  void placeProbes() {
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

  void placeHistories() {
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

  // Behind what is kept; they count in no pass.
  Status placeConstants() {
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

  // They are computed with the UNet's first step; anew where that ran half the batch only and a later one runs the whole.
  uint64_t constantMacs(size_t unet) const {
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

  std::map<std::tuple<size_t, bool, bool, std::vector<std::tuple<UnitId, uint64_t, bool>>>, size_t> distinct;

  // The program of one pass, made once for all that are alike; fills in what the pass counts.
  Status addProgram(size_t s, size_t number, const std::vector<UnitId>& read, PlannedPass* pass) {
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
      CompileRequest one{
          half ? unet.halfInputs : unet.inputs, isProbe ? std::vector<UnitId>() : unet.graph->outputs, unet.threads, true, {}};
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

  Status addPrograms() {
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
};

}  // namespace

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

#include "graph/run_plan.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "core/memory.h"
#include "graph/reach.h"
#include "ops/macs.h"

namespace asdm {

namespace {

constexpr int kNoStep = -1;

struct StepReach {
  std::vector<UnitId> inherited;  // asked for, read or not
  Reach reach;
  std::vector<UnitId> keep;       // computed here and read later
};

// Fills each step's inherited values; `asked` gets the prefix that first named a value at that step, for messages.
Status resolve(const Graph& graph, const RunRequest& request, std::vector<StepReach>* steps,
               std::vector<std::map<UnitId, std::string>>* asked) {
  std::map<std::pair<std::string, bool>, std::vector<UnitId>> known;  // plans repeat the same prefixes at most steps
  for (size_t s = 0; s < request.steps.size(); s++) {
    StepReach step;
    std::map<UnitId, std::string> names;
    for (const Inherit& inherit : request.steps[s].inherit) {
      const auto key = std::make_pair(inherit.prefix, inherit.branch);
      auto found = known.find(key);
      if (found == known.end()) {
        std::vector<UnitId> values;
        Status status = inheritedValues(graph, inherit, &values);
        if (!status.ok()) return {status.code, status.message + " at step " + std::to_string(s)};
        found = known.emplace(key, std::move(values)).first;
      }
      for (UnitId value : found->second)
        if (names.emplace(value, inherit.prefix).second) step.inherited.push_back(value);
    }
    std::sort(step.inherited.begin(), step.inherited.end());
    step.reach = reach(graph, graph.outputs, step.inherited);
    steps->push_back(std::move(step));
    asked->push_back(std::move(names));
  }
  return Status::good();
}

}  // namespace

Status compileRun(const Graph& graph, const KernelTable& table, const RunRequest& request, RunPlan* plan) {
  RunPlan made;
  std::vector<StepReach> steps;
  std::vector<std::map<UnitId, std::string>> asked;
  ASDM_TRY(resolve(graph, request, &steps, &asked));

  // The last step that computed a value, for the unconditional half (0) and the conditional one (1).
  std::vector<int> computed[2];
  for (std::vector<int>& list : computed) list.assign(graph.units.size(), kNoStep);
  std::map<UnitId, uint64_t> slots;
  for (size_t s = 0; s < steps.size(); s++) {
    PlannedStep planned;
    const int firstHalf = request.steps[s].conditionalOnly ? 1 : 0;
    for (UnitId value : steps[s].inherited) {
      const size_t v = static_cast<size_t>(value);
      if (!steps[s].reach.read[v]) continue;
      for (int half = firstHalf; half < 2; half++) {
        const int source = computed[half][v];
        if (source == kNoStep)
          return {Code::InvalidArgument, "Expected an earlier step to have computed " + graph[value].name + ", which step " + std::to_string(s) +
                                             " inherits by \"" + asked[s][value].substr(0, 120) + "\"" +
                                             (half == 0 ? " for the unconditional half" : "") + ", but none did"};
        std::vector<UnitId>& keep = steps[static_cast<size_t>(source)].keep;
        if (std::find(keep.begin(), keep.end(), value) == keep.end()) keep.push_back(value);
      }
      slots.emplace(value, 0);
      planned.inherited.push_back({value, computed[1][v]});
    }
    for (size_t u = 0; u < graph.units.size(); u++)
      if (steps[s].reach.run[u])
        for (int half = firstHalf; half < 2; half++) computed[half][u] = static_cast<int>(s);
    made.steps.push_back(std::move(planned));
  }

  // One slot per value, as large as the whole batch; the conditional half is its second half.
  Program full;
  const CompileRequest whole{request.inputs, graph.outputs, request.threads, true, {}};
  ASDM_TRY(compile(graph, table, whole, &full));
  for (auto& [value, offset] : slots) {
    offset = made.keptBytes;
    // Halves are aligned too: a half is a whole number of samples, whose size need not be one of 64 bytes.
    made.keptBytes += alignUp(static_cast<uint64_t>(full.shapes[static_cast<size_t>(value)].count() * dtypeBytes(table.activations)));
  }
  for (UnitId u : full.units) made.fullMacs += unitMacs(graph, u, full.shapes);

  std::map<std::tuple<bool, std::vector<UnitId>, std::vector<UnitId>>, size_t> distinct;
  for (size_t s = 0; s < steps.size(); s++) {
    const bool half = request.steps[s].conditionalOnly;
    std::vector<UnitId> read;
    for (const InheritedValue& value : made.steps[s].inherited) read.push_back(value.unit);
    std::sort(steps[s].keep.begin(), steps[s].keep.end());
    const auto key = std::make_tuple(half, read, steps[s].keep);
    const auto found = distinct.find(key);
    if (found == distinct.end()) {
      CompileRequest one{half ? request.halfInputs : request.inputs, graph.outputs, request.threads, true, {}};
      const auto place = [&](UnitId value, bool inherited) {
        const uint64_t bytes = static_cast<uint64_t>(full.shapes[static_cast<size_t>(value)].count() * dtypeBytes(table.activations));
        one.kept.push_back({value, slots[value] + (half ? bytes / 2 : 0), inherited});
      };
      for (UnitId value : read) place(value, true);
      for (UnitId value : steps[s].keep) place(value, false);
      Program program;
      ASDM_TRY(compile(graph, table, one, &program));
      distinct.emplace(key, made.programs.size());
      made.steps[s].program = made.programs.size();
      made.programs.push_back(std::move(program));
    } else {
      made.steps[s].program = found->second;
    }
    const Program& program = made.programs[made.steps[s].program];
    for (UnitId u : program.units) made.steps[s].macs += unitMacs(graph, u, program.shapes);
  }
  *plan = std::move(made);
  return Status::good();
}

}  // namespace asdm

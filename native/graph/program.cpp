#include "graph/program.h"

#include <algorithm>

#include "core/memory.h"
#include "graph/low_parts.h"
#include "graph/reach.h"
#include "graph/shapes.h"

namespace asdm {

namespace {

// Values and steps up to here; `values` and `lifetimes` describe what lies in the arena.
struct Compiler {
  const Graph& graph;
  const CompileRequest& request;
  Program& p;
  std::vector<int> valueOf;  // unit -> index in p.values, or -1
  std::vector<int> lowOf;    // unit -> that of its low part, or -1

  uint64_t bytes(UnitId id) const { return static_cast<uint64_t>(p.valueBytes(id)); }

  // The way out, at once after the value is there, so that a tap does not live longer than its readers need it.
  void addExport(UnitId id) {
    const auto found = std::find_if(p.outputs.begin(), p.outputs.end(), [&](const ProgramOutput& o) { return o.unit == id; });
    if (found == p.outputs.end()) return;
    const Shape& s = p.shapes[static_cast<size_t>(id)];
    Step step;
    step.op = Op::ToChannelsFirst;
    step.unit = step.result = id;
    step.operands[0] = id;
    // With one channel the transposition is a copy, which is all that other values need.
    step.args = s.rank == 4 ? LayoutArgs{nullptr, s[0], s[3], s[1] * s[2], nullptr} : LayoutArgs{nullptr, 1, 1, s.count(), nullptr};
    step.out = {Place::Output, static_cast<uint64_t>(found - p.outputs.begin())};
    p.steps.push_back(step);
  }

  void addSteps(const std::vector<Fused>& calls) {
    for (const KeptValue& kept : request.kept)  // an output that is inherited is there from the beginning
      if (kept.inherited) addExport(kept.unit);
    for (const Fused& call : calls) {
      if (!isBound(graph[call.head], p.shapes[static_cast<size_t>(call.head)], p.activations))
        p.steps.push_back(lowerUnit(graph, call, p.shapes));
      addExport(call.result);
    }
  }

  static bool isProduct(const Step& step) { return opInfo(step.op).isProduct(); }

  // Whether a low part of this value lies somewhere.
  bool hasLow(UnitId id) const { return lowOf[static_cast<size_t>(id)] >= 0 || keptLow(id).kind == Place::Kept; }

  // Whether the step reads the low part of this operand, if there is one.
  bool readsLow(const Step& step, int operand) const {
    switch (opInfo(step.op).lowParts) {
      case LowParts::None: return false;
      case LowParts::Product: return operand == 0 && graph.isWide(step.unit);
      case LowParts::Norm: return operand == 0;
      case LowParts::Sum: return operand < 2;
      case LowParts::Join: return operand < 2 && hasLow(step.result);
    }
    return false;
  }

  void addValue(std::vector<int>& indices, UnitId id, int now) {
    indices[static_cast<size_t>(id)] = static_cast<int>(p.values.size());
    p.values.push_back(id);
    p.lifetimes.push_back({now, now, bytes(id), -1});
  }

  void findLifetimes() {
    valueOf.assign(graph.units.size(), -1);
    lowOf.assign(graph.units.size(), -1);
    const std::vector<bool> low = lowParts(graph, p.activations);
    for (size_t s = 0; s < p.steps.size(); s++) {
      const Step& step = p.steps[s];
      const int now = static_cast<int>(s);
      const auto read = [&](UnitId id) {
        if (id != kNoUnit && valueOf[static_cast<size_t>(id)] >= 0)
          p.lifetimes[static_cast<size_t>(valueOf[static_cast<size_t>(id)])].last = now;
      };
      for (UnitId id : step.operands) read(id);
      read(step.residual);
      const auto readLow = [&](UnitId id) {
        if (id != kNoUnit && lowOf[static_cast<size_t>(id)] >= 0)
          p.lifetimes[static_cast<size_t>(lowOf[static_cast<size_t>(id)])].last = now;
      };
      const bool exports = step.out.kind == Place::Output;
      if (!exports && isProduct(step)) readLow(step.residual);
      const bool stays = !exports && opInfo(step.op).hasValue() && keptPlace(step.result).kind != Place::Kept;
      if (stays) addValue(valueOf, step.result, now);
      if (stays && low[static_cast<size_t>(step.result)]) addValue(lowOf, step.result, now);
      for (int i = 0; i < 2 && !exports; i++)
        if (readsLow(step, i)) readLow(step.operands[i]);
    }
  }

  // Where a value lies that outlives the program; None for all others.
  Place keptPlace(UnitId id) const {
    for (const KeptValue& kept : request.kept)
      if (kept.unit == id) return {Place::Kept, kept.offset};
    return {};
  }

  // Where its low part does.
  Place keptLow(UnitId id) const {
    for (const KeptValue& kept : request.kept)
      if (kept.unit == id && kept.low) return {Place::Kept, *kept.low};
    return {};
  }

  bool mayTakeOver(const Step& step, UnitId from, int now, const std::vector<int>& indices) const {
    if (from == kNoUnit || indices[static_cast<size_t>(from)] < 0) return false;
    const Lifetime& dying = p.lifetimes[static_cast<size_t>(indices[static_cast<size_t>(from)])];
    return dying.last == now && dying.bytes == bytes(step.result);
  }

  // In-place results, where an op allows it and its operand is not needed afterwards.
  void findTakeOvers() {
    for (size_t s = 0; s < p.steps.size(); s++) {
      Step& step = p.steps[s];
      if (step.out.kind == Place::Output || !opInfo(step.op).hasValue() || keptPlace(step.result).kind == Place::Kept) continue;
      const int now = static_cast<int>(s);
      UnitId from = kNoUnit;
      if (step.residual != kNoUnit) {
        const bool isOperand = std::find(std::begin(step.operands), std::end(step.operands), step.residual) != std::end(step.operands);
        if (!isOperand && mayTakeOver(step, step.residual, now, valueOf)) from = step.residual;
        if (lowOf[static_cast<size_t>(step.result)] >= 0 && isProduct(step) && mayTakeOver(step, step.residual, now, lowOf)) {
          step.lowInPlace = true;
          p.lifetimes[static_cast<size_t>(lowOf[static_cast<size_t>(step.result)])].takesOver = lowOf[static_cast<size_t>(step.residual)];
        }
      } else {
        for (unsigned i = 0; i < Step::kOperands && from == kNoUnit; i++)
          if ((opInfo(step.op).overwrites >> i & 1u) != 0 && mayTakeOver(step, step.operands[i], now, valueOf)) from = step.operands[i];
      }
      if (from == kNoUnit) continue;
      step.inPlace = true;
      p.lifetimes[static_cast<size_t>(valueOf[static_cast<size_t>(step.result)])].takesOver = valueOf[static_cast<size_t>(from)];
    }
  }

  Place placeOf(UnitId id) const {
    if (id == kNoUnit) return {};
    const Place kept = keptPlace(id);
    if (kept.kind == Place::Kept) return kept;
    if (valueOf[static_cast<size_t>(id)] >= 0) return {Place::Arena, p.offsets[static_cast<size_t>(valueOf[static_cast<size_t>(id)])]};
    return inputPlace(id);
  }

  void bindPlaces(uint64_t alignment) {
    Placement placement = placeValues(p.lifetimes, alignment);
    p.offsets = std::move(placement.offsets);
    p.arenaBytes = placement.bytes;
    for (Step& step : p.steps) {
      for (int i = 0; i < Step::kOperands; i++) step.in[i] = placeOf(step.operands[i]);
      step.residualPlace = placeOf(step.residual);
      if (step.out.kind != Place::Output) {
        if (step.residual != kNoUnit && isProduct(step)) step.residualLow = lowPlace(step.residual);
        step.outLow = lowPlace(step.result);
        for (int i = 0; i < 2; i++)
          if (step.operands[i] != kNoUnit && readsLow(step, i)) step.inLow[i] = lowPlace(step.operands[i]);
      }
      if (step.op == Op::ToChannelsLast) step.in[0] = inputPlace(step.unit);
      if (step.out.kind != Place::Output && opInfo(step.op).hasValue()) step.out = placeOf(step.result);
    }
  }

  Place lowPlace(UnitId id) const {
    const int at = lowOf[static_cast<size_t>(id)];
    return at < 0 ? keptLow(id) : Place{Place::Arena, p.offsets[static_cast<size_t>(at)]};
  }

  Place inputPlace(UnitId id) const {
    const auto found = std::find(graph.inputs.begin(), graph.inputs.end(), id);
    return {Place::Input, static_cast<uint64_t>(found - graph.inputs.begin())};
  }
};

std::vector<int64_t> outputShape(const Shape& s) {
  if (s.rank == 4) return {s[0], s[3], s[1], s[2]};
  return std::vector<int64_t>(s.dims.begin(), s.dims.begin() + s.rank);
}

}  // namespace

bool isBound(const Unit& unit, const Shape& shape, DType activations) {
  if (unit.op != Op::Input || shape.rank == 4) return false;
  return unit.dtype != DType::F32 || activations == DType::F32 || shape.rank == 1;
}

Status compile(const Graph& graph, const KernelTable& table, const CompileRequest& request, Program* program) {
  Program made;
  made.activations = table.activations;
  ASDM_TRY(inferShapes(graph, request.inputs, &made.shapes));
  for (UnitId u = 0; u < graph.size(); u++)
    made.dtypes.push_back(isBound(graph[u], made.shapes[static_cast<size_t>(u)], made.activations) ? graph[u].dtype : made.activations);
  std::vector<UnitId> inherited;
  std::vector<UnitId> observed = request.outputs;  // values that must come to be, so no call may swallow them
  for (const KeptValue& kept : request.kept) (kept.inherited ? inherited : observed).push_back(kept.unit);
  observed.insert(observed.end(), request.effects.begin(), request.effects.end());
  const Reach needed = reach(graph, observed, inherited);
  for (UnitId u = 0; u < graph.size(); u++)
    if (needed.run[static_cast<size_t>(u)] && graph[u].op != Op::Input) made.units.push_back(u);
  for (UnitId o : request.outputs) made.outputs.push_back({o, outputShape(made.shapes[static_cast<size_t>(o)])});

  Compiler compiler{graph, request, made, {}, {}};
  compiler.addSteps(fuseUnits(graph, needed.run, observed, request.fuse, table.traits->panelRows));
  compiler.findLifetimes();
  compiler.findTakeOvers();
  compiler.bindPlaces(table.traits->alignment);
  for (const Step& step : made.steps) {
    uint64_t bytes = 0;
    if (!stepScratch(table, step, request.threads, &bytes))
      return {Code::UnsupportedConfig, std::string("Expected the kernel set ") + table.name + " to have " + opInfo(step.op).name + " in " +
                                           dtypeName(table.activations) + ", which " + graph[step.unit].name + " needs, but it has not"};
    made.scratchBytes = std::max(made.scratchBytes, alignUp(bytes, table.traits->alignment));
  }
  *program = std::move(made);
  return Status::good();
}

}  // namespace asdm

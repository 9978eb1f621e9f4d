// Forward passes that hand features on: for each pass a program, and which values lie in the memory kept between passes. The passes
// may be those of several UNets, and what a pass inherits may be chosen only when it comes.
#pragma once

#include <atomic>
#include <optional>
#include <vector>

#include "graph/constants.h"
#include "graph/inherit.h"
#include "graph/program.h"

namespace asdm {

struct RunStep {
  size_t unet = 0;                            // index in RunRequest.unets
  std::vector<Inherit> inherit;               // in any case
  std::vector<std::vector<Inherit>> choices;  // each of these sets too, or not, as is said when the step comes; at most kMostChoices
  // Only the second half of the batch runs: guidance is off, the unconditional half has no part in this step.
  bool conditionalOnly = false;
  // The step begins with its UNet's probes, by which the choices are made.
  bool probe = false;
};

// A step has 2^choices variants, each with a program.
constexpr size_t kMostChoices = 4;

// A UNet of a run; all of one device. Graph and table outlive the plan's making, not its use.
struct RunUNet {
  const Graph* graph = nullptr;
  const KernelTable* table = nullptr;
  int threads = 1;
  std::vector<Shape> inputs;      // of graph.inputs at the whole batch
  std::vector<Shape> halfInputs;  // at half of it; empty when no step is conditionalOnly
  // Early values whose change from step to step is measured. At a step with `probe` they are computed first, and what they needed is
  // not computed again. So whatever they are made of is fresh there, also where it is asked to be inherited.
  std::vector<Inherit> probes;
};

// Values of one UNet, by a prefix, that stand in for those of another: a step of UNet `to` that inherits a value of `target` takes
// the last that either UNet computed. What `to` computed does not go back, and what it took over is not handed on to a third UNet.
struct RunMap {
  size_t from = 0, to = 0;
  Inherit source, target;
  size_t number = 0;  // what messages call it: maps[number]
};

struct RunRequest {
  std::vector<RunUNet> unets;
  std::vector<RunMap> maps;
  std::vector<RunStep> steps;
  // What a step inherits goes on along the line through its last two computed values (RunPlan::histories) instead of standing still.
  bool continued = false;
  // A step computes what it would inherit but no earlier step computed for sure; without it that is an error.
  bool computeMissing = false;
};

struct InheritedValue {
  UnitId unit = kNoUnit;
  // The step that computed it (of the conditional half, where the halves differ), and its UNet. Where that depends on what is chosen:
  // the last step that computes it whatever is chosen; a later one may, too.
  int source = 0;
  size_t unet = 0;
};

struct KeptCopy {
  uint64_t from = 0, to = 0, bytes = 0;
};

// One program of a step.
struct PlannedPass {
  size_t program = 0;
  uint64_t macs = 0;                      // those of the step's probes included
  uint64_t units = 0;
  std::vector<InheritedValue> inherited;  // from earlier steps
  std::vector<KeptCopy> copies;           // after it ran: values that are kept for two UNets
  // Numbers of histories, where the run has them: of values to be continued before it runs, and of values it computed.
  std::vector<size_t> continues, notes;
};

// A value in the kept memory and its last two computed ones, in bytes into that memory; each of the whole batch, with a low part
// (backend/arguments.h) where it has one.
struct KeptHistory {
  struct Copy {
    uint64_t offset = 0;
    std::optional<uint64_t> low;
  };
  Copy now;            // where passes read and write it
  Copy computed[2];
  uint64_t count = 0;  // numbers, of the whole batch
  DType dtype = DType::F32;
};

constexpr size_t kNoProgram = SIZE_MAX;

struct PlannedStep {
  std::vector<PlannedPass> variants;  // bit i of the index: whether choices[i] is inherited
  PlannedPass probe{kNoProgram, 0, 0, {}, {}, {}, {}};
};

// Where a probe's values lie, and those it is compared with: of the conditional half, or of all where no step lacks the other.
struct ProbedValue {
  uint64_t now = 0, before = 0;  // bytes into the kept memory
  uint64_t count = 0;            // numbers
};

struct PlannedUNet {
  std::vector<UnitId> units;  // of a whole pass, without the constants
  uint64_t fullMacs = 0;      // of it
  RequestConstants constants;
  uint64_t constantMacs = 0;  // what its steps need of them, if the constant inputs never change
  DType activations = DType::F32;
  std::vector<std::vector<ProbedValue>> probes;  // for each of its probes its values
};

struct RunPlan {
  std::vector<Program> programs;  // distinct ones; each runs on the UNet of the steps that name it
  std::vector<PlannedStep> steps;
  std::vector<PlannedUNet> unets;
  std::vector<KeptHistory> histories;  // of every value that is read from the kept memory, where they are continued
  uint64_t keptBytes = 0;
  uint64_t constantBytes = 0;  // of the constants, which lie behind
};

// Programs read the constants of their UNet and expect them to be there; what they need of the text is computed by programs of its own.
//
// Decides per step what runs (reverse reachability from the output, stopped at inherited values), which step each inherited value
// comes from (the last one that computed it; the two halves of the batch separately), and keeps only what a later step reads. Where
// choices are open, a value is kept by every program that may be the last to compute it.
// Fails with InvalidArgument, naming prefix and step, where a value has no source whatever is chosen (unless computeMissing), naming the
// map where it joins what does not fit; with Aborted soon after cancel turns true; and as compile does.
Status compileRun(const RunRequest& request, const std::atomic<bool>& cancel, RunPlan* plan);

}  // namespace asdm

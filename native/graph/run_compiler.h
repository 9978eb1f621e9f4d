// Part of compileRun (run_plan.h): how a run's steps become programs. run_plan.cpp follows each value from the step that computes it to those
// that inherit it; run_programs.cpp lays out what is handed on, and compiles a program for each distinct pass.
#pragma once

#include <atomic>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "graph/kept_slots.h"
#include "graph/reach.h"
#include "graph/run_plan.h"

namespace asdm {

// A step as one outcome of its choices has it.
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
  std::vector<Program> full;  // of each UNet
  std::vector<std::vector<bool>> low;  // of each UNet: values with a low part
  std::vector<std::vector<bool>> probed;  // of each UNet: units that its probes run
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
  Status start();

  // Gives values that maps join one place.
  Status joinMaps();

  std::map<std::tuple<size_t, std::string, bool>, std::vector<UnitId>> known;  // plans repeat the same prefixes at most steps

  // Those that a rule of step s names.
  Status valuesOf(size_t s, const Inherit& inherit, const std::vector<UnitId>** values);

  // The rules of a step as one outcome of its choices (a bit each) has them.
  static std::vector<const Inherit*> inheritsOf(const RunStep& step, size_t variant);

  // What each variant of each step inherits and runs.
  Status resolve();

  // What step s runs and reads, given these values.
  Reach reachOf(size_t s, std::vector<UnitId> given) const;

  // For computeMissing, of each half of the batch and each UNet: the values that some step so far computes whatever is chosen. A map
  // may hide a part of a UNet at its first step, and a later rule ask for something of that part.
  std::vector<std::vector<bool>> computed[2];

  // Takes out what a variant reads but nothing can hand on. What it computes instead may read more: to be repeated while it is true.
  bool dropMissing(size_t s, Variant* variant) const;

  void noteComputed(size_t s);

  // The error where nothing computes what a step inherits.
  Status noSource(size_t s, size_t variant, UnitId value, int half);

  // Every value that is read from the kept memory gets a place there.
  void openSlots();

  // Goes through the steps in order: what each reads, then what it computes.
  Status findSources();

  // What a probe hands to the rest of its own step, and what is measured.
  void keepProbed(size_t s);

  // Places of what probes computed the time before, and of what histories keep; behind the slots.
  void placeProbes();
  void placeHistories();

  // Behind what is kept; they count in no pass.
  Status placeConstants();

  // They are computed with the UNet's first step; anew where that ran half the batch only and a later one runs the whole.
  uint64_t constantMacs(size_t unet) const;

  // Programs by what they are compiled for.
  std::map<std::tuple<size_t, bool, bool, std::vector<std::tuple<UnitId, uint64_t, bool>>>, size_t> distinct;

  // The program of one pass, made once for all that are alike; fills in what the pass counts.
  Status addProgram(size_t s, size_t number, const std::vector<UnitId>& read, PlannedPass* pass);

  Status addPrograms();
};

}  // namespace asdm

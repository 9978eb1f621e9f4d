// Part of compileRun: the places in the kept memory, and which passes have to write to them.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "graph/unit.h"

namespace asdm {

class KeptSlots {
 public:
  // everyOne: whatever computes a value that has a place keeps it, whether or not it may be the last to do so before a step reads it.
  // alignment: of every place.
  KeptSlots(bool everyOne, uint64_t alignment) : everyOne_(everyOne), alignment_(alignment) {}

  using Value = std::pair<size_t, UnitId>;  // a UNet's number, and the unit that gives the value
  static constexpr size_t kProbe = SIZE_MAX;  // the number of a step's probe among its passes

  struct Source {
    size_t step = 0, unet = 0;
  };

  // Bytes into the kept memory: of a value, and of its low part (backend/arguments.h) if it has one.
  struct Place {
    uint64_t offset = 0;
    std::optional<uint64_t> low;
  };

  // `to` may also be read where `from` was computed. False where a value of the same UNet is joined to it already, since both would be
  // computed at one step. Before any open().
  bool join(Value from, Value to);
  // The values of other UNets that may stand in for one, by join().
  std::vector<Value> standIns(Value value) const;
  // Gives what is read as `value` a place; values that may come from the same ones share it. It has room for a low part where all that
  // may come there have one.
  void open(Value value, uint64_t bytes, const std::function<bool(Value)>& hasLow);

  // Step by step, what a step reads first:
  // The last step, of any UNet that may give the value, that computes it whatever is chosen; null where there is none. Every pass that
  // may be the last to compute it has to keep it from now on. half: 0 the unconditional one, 1 the conditional one.
  const Source* read(Value value, int half);
  // What a step computes. runs(unit, pass): does the pass (kProbe, or 0 up to `passes`, one of which is chosen) compute the unit?
  void compute(size_t step, size_t unet, int firstHalf, const std::function<bool(UnitId, size_t)>& runs, size_t passes);
  // A pass that has to keep a value in any case.
  void keep(size_t step, size_t pass, Value value) { kept_[{step, pass}][value.second].push_back(slotOf_[value]); }

  // What a pass keeps, by unit, and where: each place once, those with a low part first, then ascending.
  std::map<UnitId, std::vector<Place>> kept(size_t step, size_t pass) const;
  // The numbers of these places, ascending.
  std::vector<size_t> keptNumbers(size_t step, size_t pass) const;
  size_t number(Value value) const { return slotOf_.at(value); }
  size_t count() const { return slots_.size(); }
  const Place& place(size_t number) const { return slots_[number].place; }
  const Place& place(Value value) const { return place(number(value)); }
  // One of the values that may come to a place; all of them are of one size.
  Value valueOf(size_t number) const { return slots_[number].sources[0]; }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Writer {
    size_t step, pass;
    UnitId unit;
  };
  struct Half {
    bool sure = false;
    Source source;                // valid where sure
    std::vector<Writer> writers;  // that may be the last, and are not yet told to keep it
  };
  struct Slot {
    std::vector<Value> sources;
    Place place;
    Half halves[2];
  };

  const bool everyOne_;
  const uint64_t alignment_;
  std::map<Value, std::vector<Value>> joined_;   // a value -> those that may stand in for it
  std::map<std::vector<Value>, size_t> bySources_;
  std::map<Value, size_t> slotOf_;
  std::vector<Slot> slots_;
  std::vector<std::vector<std::pair<UnitId, size_t>>> writes_;  // of each UNet: a unit, and a slot that it may write to
  std::map<std::pair<size_t, size_t>, std::map<UnitId, std::vector<size_t>>> kept_;
  uint64_t bytes_ = 0;
};

}  // namespace asdm

#include "graph/kept_slots.h"

#include <algorithm>
#include <set>

#include "core/memory.h"

namespace asdm {

bool KeptSlots::join(Value from, Value to) {
  std::vector<Value>& sources = joined_[to];
  const bool ambiguous =
      from.first == to.first || std::any_of(sources.begin(), sources.end(), [&](Value v) { return v.first == from.first; });
  sources.push_back(from);
  return !ambiguous;
}

std::vector<KeptSlots::Value> KeptSlots::standIns(Value value) const {
  const auto found = joined_.find(value);
  return found == joined_.end() ? std::vector<Value>() : found->second;
}

void KeptSlots::open(Value value, uint64_t bytes, const std::function<bool(Value)>& hasLow) {
  if (slotOf_.count(value) != 0) return;
  std::vector<Value> sources{value};
  const auto joined = joined_.find(value);
  if (joined != joined_.end()) sources.insert(sources.end(), joined->second.begin(), joined->second.end());
  std::sort(sources.begin(), sources.end());
  const auto [found, fresh] = bySources_.emplace(sources, slots_.size());
  slotOf_[value] = found->second;
  if (!fresh) return;
  for (const Value& source : sources) {
    if (writes_.size() <= source.first) writes_.resize(source.first + 1);
    writes_[source.first].emplace_back(source.second, slots_.size());
  }
  Slot slot;
  // A half is a whole number of samples, whose size need not be a multiple of the alignment.
  const auto take = [&] {
    const uint64_t offset = bytes_;
    bytes_ += alignUp(bytes, alignment_);
    return offset;
  };
  slot.place.offset = take();
  if (std::all_of(sources.begin(), sources.end(), hasLow)) slot.place.low = take();
  slot.sources = std::move(sources);
  slots_.push_back(std::move(slot));
}

const KeptSlots::Source* KeptSlots::read(Value value, int half) {
  const size_t slot = slotOf_.at(value);
  Half& state = slots_[slot].halves[half];
  if (!state.sure) return nullptr;
  for (const Writer& writer : state.writers) kept_[{writer.step, writer.pass}][writer.unit].push_back(slot);
  state.writers.clear();
  return &state.source;
}

void KeptSlots::compute(size_t step, size_t unet, int firstHalf, const std::function<bool(UnitId, size_t)>& runs, size_t passes) {
  if (unet >= writes_.size()) return;
  for (const auto& [unit, slot] : writes_[unet]) {
    std::vector<Writer> writers;
    if (runs(unit, kProbe)) writers.push_back({step, kProbe, unit});
    bool sure = !writers.empty();
    if (!sure) {
      for (size_t pass = 0; pass < passes; pass++)
        if (runs(unit, pass)) writers.push_back({step, pass, unit});
      sure = writers.size() == passes;
    }
    if (writers.empty()) continue;
    if (everyOne_)
      for (const Writer& writer : writers) kept_[{writer.step, writer.pass}][writer.unit].push_back(slot);
    for (int half = firstHalf; half < 2; half++) {
      Half& state = slots_[slot].halves[half];
      if (sure) {
        state.sure = true;
        state.source = {step, unet};
        state.writers.clear();
      }
      state.writers.insert(state.writers.end(), writers.begin(), writers.end());
    }
  }
}

std::map<UnitId, std::vector<KeptSlots::Place>> KeptSlots::kept(size_t step, size_t pass) const {
  std::map<UnitId, std::vector<Place>> result;
  const auto found = kept_.find({step, pass});
  if (found == kept_.end()) return result;
  for (const auto& [unit, slots] : found->second) {
    std::vector<Place>& places = result[unit];
    for (size_t slot : slots) places.push_back(slots_[slot].place);
    const auto order = [](const Place& p) { return std::make_pair(!p.low, p.offset); };
    std::sort(places.begin(), places.end(), [&](const Place& a, const Place& b) { return order(a) < order(b); });
    places.erase(std::unique(places.begin(), places.end(), [](const Place& a, const Place& b) { return a.offset == b.offset; }),
                 places.end());
  }
  return result;
}

std::vector<size_t> KeptSlots::keptNumbers(size_t step, size_t pass) const {
  std::set<size_t> numbers;
  const auto found = kept_.find({step, pass});
  if (found != kept_.end())
    for (const auto& [unit, slots] : found->second) numbers.insert(slots.begin(), slots.end());
  return {numbers.begin(), numbers.end()};
}

}  // namespace asdm

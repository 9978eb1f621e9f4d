// What the compiler has to know of an op, in one place: Rule<Op::Name> says
//   shape   the shape of a unit's value, or why there is none (shapes.cpp)
//   lower   the arguments of its kernel but for pointers (lower.cpp)
//   bind    the pointers, each time a program runs (execute.cpp)
// Each family of ops has a file, *_rules.h; rules.h has them all. ops/ops.def lists the ops.
#pragma once

#include <string>
#include <vector>

#include "graph/execute.h"

namespace asdm {

template <Op op>
struct Rule;

inline Status mismatch(const std::string& expected, const Unit& unit, const Shape& received) {
  return {Code::ShapeMismatch, "Expected " + expected + " for " + unit.name + " but received " + received.text()};
}

// One unit among the shapes of those before it.
struct UnitShapes {
  const Graph& graph;
  const std::vector<Shape>& shapes;
  const Unit& unit;

  const Attributes& attributes() const { return unit.attributes; }
  const Shape& of(UnitId id) const { return shapes[static_cast<size_t>(id)]; }
  const Shape& input(size_t i) const { return of(unit.inputs[i]); }
  const WeightShape& weight(size_t i) const { return graph.weights[static_cast<size_t>(unit.weights[i])].shape; }
  // A gradient's: the unit that it is one of.
  const Unit& forward() const { return graph[unit.attributes.of]; }

  Status mismatch(const std::string& expected, const Shape& received) const { return asdm::mismatch(expected, unit, received); }
  // Is the last dimension of input 0 as wanted?
  Status channels(int64_t wanted) const {
    const Shape& x = input(0);
    if (x.rank >= 1 && x.channels() == wanted) return Status::good();
    Shape expected = x;
    if (expected.rank == 0) expected.rank = 1;
    expected[expected.rank - 1] = wanted;
    return mismatch(expected.text(), x);
  }
};

// The same, with the unit's own shape y and what was fused with it.
struct Lowering : UnitShapes {
  const Fused& fused;
  const Shape& y;

  // The arguments of the unit that this is a gradient of, as a call of its own would have them.
  template <Op op>
  auto forwardArguments() const {
    const UnitId id = unit.attributes.of;
    const Fused alone{id, id};
    return Rule<op>::lower(Lowering{{graph, shapes, graph[id]}, alone, of(id)});
  }
};

// Where the operands of one step lie in this run of its program.
struct Pointers {
  const Program& program;
  const RunBindings& bindings;
  const Step& step;

  void* write(const Place& place) const {
    switch (place.kind) {
      case Place::Arena: return bindings.arena + place.offset;
      case Place::Output: return bindings.outputs[place.offset];
      case Place::Kept: return bindings.kept + place.offset;
      case Place::Input:
      case Place::None: break;
    }
    return nullptr;
  }
  const void* read(const Place& place) const { return place.kind == Place::Input ? bindings.inputs[place.offset] : write(place); }
  const void* in(int i) const { return read(step.in[i]); }
  const void* inLow(int i) const { return read(step.inLow[i]); }
  // From the operand's first column on.
  const void* columns(int i) const {
    return static_cast<const std::byte*>(in(i)) + step.columns[i] * dtypeBytes(program.dtypes[static_cast<size_t>(step.operands[i])]);
  }
  const void* residual() const { return read(step.residualPlace); }
  const void* residualLow() const { return read(step.residualLow); }
  void* out() const { return write(step.out); }
  void* outLow() const { return write(step.outLow); }
  const void* weight(int i) const {
    return step.weights[i] == kNoWeight ? nullptr : bindings.weights[static_cast<size_t>(step.weights[i])];
  }
  const float* vector(int i) const { return static_cast<const float*>(weight(i)); }
  float* gradient(int i) const {
    const WeightId id = step.weights[i];
    return id == kNoWeight || bindings.gradients.empty() ? nullptr : bindings.gradients[static_cast<size_t>(id)];
  }
};

}  // namespace asdm

// A graph compiled for input shapes and a set of outputs: kernel calls in order, with their places in the arena.
#pragma once

#include <optional>
#include <vector>

#include "graph/calls.h"
#include "graph/graph.h"
#include "graph/lifetime.h"

namespace asdm {

// Where an operand lies. Pointers are bound when the program runs.
struct Place {
  enum Kind : uint8_t { None, Arena, Input, Output, Kept } kind = None;
  uint64_t offset = 0;  // Arena, Kept: bytes. Input, Output: index in graph.inputs, program.outputs
};

// One kernel call.
struct Step {
  Op op = Op::Input;
  UnitId unit = kNoUnit;                        // whose weights it uses
  UnitId result = kNoUnit;                      // whose value it gives: a later one where units were fused
  StepArgs args;                                // pointers null
  static constexpr int kOperands = 5;
  UnitId operands[kOperands] = {kNoUnit, kNoUnit, kNoUnit, kNoUnit, kNoUnit};
  UnitId residual = kNoUnit;
  WeightId weights[4] = {kNoWeight, kNoWeight, kNoWeight, kNoWeight};
  int64_t columns[3] = {0, 0, 0};               // first column of each operand
  Place in[kOperands], residualPlace, out;
  Place inLow[2], residualLow, outLow;          // low parts (backend/arguments.h), or nowhere
  bool inPlace = false;                         // the result takes over an operand's memory
  bool lowInPlace = false;                      // its low part that of the residual
};

struct ProgramOutput {
  UnitId unit = kNoUnit;
  std::vector<int64_t> shape;  // PyTorch's: feature maps [N,C,H,W], sequences [N,L,C]
};

struct Program {
  DType activations = DType::F32;       // of the kernels
  std::vector<Shape> shapes;            // of every unit's value, channels last
  std::vector<DType> dtypes;            // and their numbers' format
  std::vector<UnitId> units;            // that have to run, in order
  std::vector<Step> steps;
  std::vector<ProgramOutput> outputs;   // as asked for
  std::vector<UnitId> values;           // those in the arena; a unit whose value has a low part (low_parts.h) is there twice
  std::vector<Lifetime> lifetimes;      // of them, in steps
  std::vector<uint64_t> offsets;        // of them, in bytes
  uint64_t arenaBytes = 0;              // for values; scratch follows
  uint64_t scratchBytes = 0;

  int64_t valueBytes(UnitId id) const { return shapes[static_cast<size_t>(id)].count() * dtypeBytes(dtypes[static_cast<size_t>(id)]); }
};

// A value in the memory that outlives the program: read from there (inherited), or computed into it for a later program.
struct KeptValue {
  UnitId unit = kNoUnit;
  uint64_t offset = 0;
  bool inherited = false;
  std::optional<uint64_t> low = std::nullopt;  // where its low part lies, if it has one and that is to outlive the program too
};

struct CompileRequest {
  std::vector<Shape> inputs;     // of graph.inputs, channels last
  std::vector<UnitId> outputs;   // each once
  int threads = 1;
  bool fuse = true;              // false keeps every unit a call of its own; the bits are the same
  std::vector<KeptValue> kept;   // computed ones are wanted as outputs are
  std::vector<UnitId> effects = {};  // units that run though nobody may read them: gradients of weights
};

// Fails with ShapeMismatch, OutOfMemory (sizes beyond addressing) or UnsupportedConfig (the backend lacks a kernel).
Status compile(const Graph& graph, const KernelTable& table, const CompileRequest& request, Program* program);

// Part of compile. fuse.cpp: which units become one call. A product (Linear, Conv2d, CondConv) takes in an activation and a sum after it,
// or a Geglu, where nobody else reads what lies between. panelRows: the device's.
struct Fused {
  UnitId head;                        // the unit that computes
  UnitId result;                      // the last one taken in
  UnitId residual = kNoUnit;          // the sum's other input
  Activation activation = Activation::None;
  bool gated = false;                 // as LinearArgs::gated
};
std::vector<Fused> fuseUnits(const Graph& graph, const std::vector<bool>& run, const std::vector<UnitId>& outputs, bool fuse,
                             int64_t panelRows);

// Whether kernels read this input where the caller has it: ids, time steps (which stay float), and sequences if they have the
// activations' format already. Others are brought into it, and feature maps into channels last, as the program begins.
bool isBound(const Unit& unit, const Shape& shape, DType activations);

// Part of compile. lower.cpp: a unit (or fused ones) as a kernel call with shapes filled in.
Step lowerUnit(const Graph& graph, const Fused& fused, const std::vector<Shape>& shapes);
// Scratch bytes that a step's kernel wants; false where the table has no kernel for it.
bool stepScratch(const KernelTable& table, const Step& step, int threads, uint64_t* bytes);

}  // namespace asdm

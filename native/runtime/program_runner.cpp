#include "runtime/program_runner.h"

#include <algorithm>

#include "graph/cost.h"
#include "runtime/requests.h"

namespace asdm {

namespace {

// Programs kept per model; a generation uses one or two shapes.
constexpr size_t kMaxPrograms = 8;

// Each value once, in order of first mention.
std::vector<UnitId> distinct(const std::vector<UnitId>& ids) {
  std::vector<UnitId> result;
  for (UnitId id : ids)
    if (std::find(result.begin(), result.end(), id) == result.end()) result.push_back(id);
  return result;
}

}  // namespace

Status ProgramRunner::requestFor(const ForwardShape& shape, const std::vector<UnitId>& outputs, CompileRequest* request) const {
  request->outputs = distinct(outputs);
  request->threads = queue_.threads();
  return graphInputs(graph_, shape, &request->inputs);
}

Status ProgramRunner::compileFor(const ForwardShape& shape, const std::vector<UnitId>& outputs, Program* program) const {
  CompileRequest request;
  ASDM_TRY(requestFor(shape, outputs, &request));
  return compile(graph_, table_, request, program);
}

Status ProgramRunner::programFor(const ForwardShape& shape, const std::vector<UnitId>& outputs, const Program** program) {
  CompileRequest request;
  ASDM_TRY(requestFor(shape, outputs, &request));
  for (auto it = programs_.begin(); it != programs_.end(); ++it) {
    if (it->first.inputs != request.inputs || it->first.outputs != request.outputs) continue;
    programs_.splice(programs_.begin(), programs_, it);
    *program = &programs_.front().second;
    return Status::good();
  }
  Program made;
  ASDM_TRY(compile(graph_, table_, request, &made));
  programs_.emplace_front(std::move(request), std::move(made));
  if (programs_.size() > kMaxPrograms) programs_.pop_back();
  *program = &programs_.front().second;
  return Status::good();
}

Status ProgramRunner::reserveArena(const Program& program) {
  const uint64_t bytes = program.arenaBytes + program.scratchBytes;
  if (arena_.bytes() >= bytes && arena_.data() != nullptr) return Status::good();
  const std::shared_ptr<Device>& device = weights_.device();
  ASDM_TRY(checkRoom(*device, static_cast<double>(bytes) + static_cast<double>(weights_.bytes()), "weights and activations"));
  arena_.release();  // the old one first: both together might not fit
  return arena_.allocate(device, std::max<uint64_t>(bytes, table_.traits->alignment))
             ? Status::good()
             : outOfMemory(static_cast<double>(bytes), "activations");
}

const char* ProgramRunner::productFormat(const Program& program, const Step& step) const {
  const WeightId id = step.weights[0];
  const WeightFormat format = id != kNoWeight ? graph_.weights[static_cast<size_t>(id)].shape.format : WeightFormat::Native;
  return format == WeightFormat::I8 ? "int8" : format == WeightFormat::F32 ? "fp32" : dtypeName(program.activations);
}

std::vector<CallRow> ProgramRunner::callRows(const Program& program, const std::vector<double>& seconds) const {
  std::vector<CallRow> rows;
  for (size_t i = 0; i < program.steps.size(); i++) {
    const Step& step = program.steps[i];
    const StepCost cost = stepCost(graph_, table_, program, step);
    const auto dims = [&](UnitId id) {
      if (id == kNoUnit) return std::vector<int64_t>();
      const Shape& s = program.shapes[static_cast<size_t>(id)];
      return std::vector<int64_t>(s.dims.begin(), s.dims.begin() + s.rank);
    };
    rows.push_back({graph_[step.unit].name, opInfo(step.op).name, graph_[step.result].name, dims(step.operands[0]), dims(step.result),
                    productFormat(program, step), cost.macs, cost.weightBytes, cost.valueBytes, seconds[i]});
  }
  return rows;
}

Status ProgramRunner::run(const Program& program, const std::vector<const void*>& inputs, std::byte* kept, const std::atomic<bool>& cancel,
                          std::vector<HostTensor>* results, std::vector<CallRow>* calls) {
  ASDM_TRY(reserveArena(program));
  results->resize(program.outputs.size());
  RunBindings bindings;
  bindings.arena = arena_.data();
  bindings.kept = kept;
  bindings.weights = weights_.addresses();
  std::vector<float*> outputs;
  for (size_t i = 0; i < results->size(); i++) {
    const ProgramOutput& output = program.outputs[i];
    (*results)[i].shape = output.shape;
    (*results)[i].data.resize(static_cast<size_t>(program.shapes[static_cast<size_t>(output.unit)].count()));
    outputs.push_back((*results)[i].data.data());
  }
  std::vector<double> seconds(calls != nullptr ? program.steps.size() : 0);
  if (calls != nullptr) bindings.seconds = seconds.data();
  ASDM_TRY(transfers_.bind(graph_, program, queue_, inputs, outputs, &bindings));
  ASDM_TRY(execute(program, table_, bindings, queue_, cancel));
  ASDM_TRY(transfers_.collect(program, queue_, outputs, bindings));
  if (calls != nullptr) *calls = callRows(program, seconds);
  return Status::good();
}

}  // namespace asdm

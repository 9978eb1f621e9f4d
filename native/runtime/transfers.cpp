#include "runtime/transfers.h"

#include "core/memory.h"

namespace asdm {

namespace {

// Values of the caller's are floats or ids of the same width.
constexpr int64_t kNumberBytes = 4;

uint64_t bytesOf(const Program& program, UnitId id) {
  return static_cast<uint64_t>(program.shapes[static_cast<size_t>(id)].count() * kNumberBytes);
}

// Which of the graph's inputs the program reads.
std::vector<bool> inputsRead(const Graph& graph, const Program& program) {
  std::vector<bool> read(graph.inputs.size());
  for (const Step& step : program.steps) {
    for (const Place& place : step.in)
      if (place.kind == Place::Input) read[static_cast<size_t>(place.offset)] = true;
    if (step.residualPlace.kind == Place::Input) read[static_cast<size_t>(step.residualPlace.offset)] = true;
  }
  return read;
}

}  // namespace

Status Transfers::bind(const Graph& graph, const Program& program, Queue& queue, const std::vector<const void*>& inputs,
                       const std::vector<float*>& outputs, RunBindings* bindings) {
  bindings->inputs.clear();
  bindings->outputs.clear();
  const DeviceTraits& traits = device_->traits();
  if (traits.hostAddressable) {
    bindings->inputs = inputs;
    bindings->outputs.assign(outputs.begin(), outputs.end());
    return Status::good();
  }
  const std::vector<bool> read = inputsRead(graph, program);
  uint64_t bytes = 0;
  for (size_t i = 0; i < inputs.size(); i++)
    if (read[i]) bytes += alignUp(bytesOf(program, graph.inputs[i]), traits.alignment);
  for (const ProgramOutput& output : program.outputs) bytes += alignUp(bytesOf(program, output.unit), traits.alignment);
  if (buffer_.bytes() < bytes && !buffer_.allocate(device_, bytes)) return outOfMemory(static_cast<double>(bytes), "inputs and outputs");
  std::byte* at = buffer_.data();
  const auto take = [&](uint64_t size) {
    std::byte* const address = at;
    at += alignUp(size, traits.alignment);
    return address;
  };
  for (size_t i = 0; i < inputs.size(); i++) {
    const uint64_t size = bytesOf(program, graph.inputs[i]);
    std::byte* const address = read[i] ? take(size) : nullptr;
    if (read[i]) queue.upload(address, inputs[i], size);
    bindings->inputs.push_back(address);
  }
  for (const ProgramOutput& output : program.outputs) bindings->outputs.push_back(take(bytesOf(program, output.unit)));
  return Status::good();
}

Status Transfers::collect(const Program& program, Queue& queue, const std::vector<float*>& outputs, const RunBindings& bindings) {
  if (device_->traits().hostAddressable) return Status::good();
  for (size_t i = 0; i < outputs.size(); i++) queue.download(outputs[i], bindings.outputs[i], bytesOf(program, program.outputs[i].unit));
  return statusOf(queue.finish());
}

}  // namespace asdm

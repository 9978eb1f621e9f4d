// A pass's inputs and outputs where kernels reach them: where the caller has them, or, on a device with memory of its own, in a buffer there.
#pragma once

#include <memory>
#include <vector>

#include "graph/execute.h"

namespace asdm {

class Transfers {
 public:
  explicit Transfers(std::shared_ptr<Device> device) : device_(std::move(device)) {}

  // Binds what the program reads and gives, all of the host: inputs of the graph, in its order, and an array of floats for each of program.outputs.
  // Issues what brings inputs to the device. Fails with OutOfMemory.
  Status bind(const Graph& graph, const Program& program, Queue& queue, const std::vector<const void*>& inputs,
              const std::vector<float*>& outputs, RunBindings* bindings);
  // After the program ran: brings the outputs to where bind() was told. Fails as Queue::finish does.
  Status collect(const Program& program, Queue& queue, const std::vector<float*>& outputs, const RunBindings& bindings);

  void trim() { buffer_.release(); }

 private:
  std::shared_ptr<Device> device_;
  Buffer buffer_;
};

}  // namespace asdm

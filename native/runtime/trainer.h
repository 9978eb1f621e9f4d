// Trains a model without JavaScript: its weights as the kernels have them, their gradients and moments, all on a device, and the
// program that computes a loss and adds its gradients up. Nothing here is thread-safe; one caller at a time.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "backend/device.h"
#include "graph/differentiate.h"
#include "graph/program.h"
#include "runtime/transfers.h"
#include "weights/store.h"

namespace asdm {

struct TrainerOptions {
  std::vector<std::string> trained;   // prefixes of weights' names, cut at dots; none: all
  std::vector<UnitId> inputs;         // values whose gradients accumulate() gives too
  bool average = false;               // keeps an exponential moving average of the trained weights
};

// One step of AdamW (AdamWArgs).
struct UpdateOptions {
  float rate = 0;
  float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
  float decay = 0.01f;
  double clip = 0;    // scales the gradients so that their norm is at most this; 0: never
  float keep = 0;     // of the average, if there is one: average * keep + weight * (1 - keep)
};

class Trainer {
 public:
  // queue: of the device, on which all of this runs; it has to outlive the trainer. What takes memory fails with OutOfMemory, and what computes or
  // copies as Queue::finish does.
  Trainer(const std::shared_ptr<Device>& device, Queue& queue) : device_(device), queue_(queue), weights_(device), transfers_(device) {}

  // What accumulate is given, in the host's memory: of the graph's inputs, then for each term its target and weights, as Differentiated has them.
  struct Given {
    const void* data = nullptr;
    Shape shape;  // channels last
  };
  enum class Kind { Weight, Gradient, First, Second, Average };

  // Differentiates the graph. table: of the device. UnsupportedConfig where it has no kernels for training.
  Status build(Graph graph, const KernelTable& table, const std::vector<LossTerm>& terms, const TrainerOptions& options);

  // Makes room for the weights, which have to be written before the first step, and for gradients, moments and the average of those that are trained; all
  // of these start as zero. Until then there is nothing to read, write or compute with.
  Status allocate();

  const Graph& graph() const { return graph_; }
  WeightStore& weights() { return weights_; }
  // The average becomes the weights. Before the first step, and after weights were written.
  Status startAverage();
  // The same, and gradients and moments become zero.
  Status reset();

  // Forward and back: adds this batch's gradients to what is there, and gives each term's losses by sample, then the gradients of the inputs that
  // were asked for. Fails as compile does, or with Aborted; the gradients are then zero again.
  Status accumulate(const std::vector<Given>& given, const std::atomic<bool>& cancel, std::vector<std::vector<float>>* outputs);
  // Forward alone: the terms' losses by sample.
  Status evaluate(const std::vector<Given>& given, const std::atomic<bool>& cancel, std::vector<std::vector<float>>* losses);
  // Forward once more, keeping every value: the first unit whose value has a number that is none or infinite, or kNoUnit.
  Status firstNonFinite(const std::vector<Given>& given, const std::atomic<bool>& cancel, UnitId* unit);
  // Takes a step along the gradients, which are zero afterwards; norm: theirs, before they were clipped. InvalidArgument, naming the first weight whose
  // gradient has a number that is none or infinite; the weights are then as they were. Aborted, too, leaves them so if the step had not begun to
  // change them; else the trainer is torn(), and of no use until all was written anew.
  Status update(const UpdateOptions& options, const std::atomic<bool>& cancel, double* norm);
  bool torn() const { return torn_; }

  // Steps taken; with weights, moments and average all that a checkpoint needs, which setSteps ends the writing of.
  int64_t steps() const { return steps_; }
  void setSteps(int64_t steps) {
    steps_ = steps;
    torn_ = false;
  }
  bool trains(WeightId id) const { return trained_[static_cast<size_t>(id)]; }
  // Rows of a part of a weight, or of what belongs to it, in PyTorch's order. Gradients, moments and averages are those of trained weights only.
  Status read(Kind kind, WeightId id, size_t part, int64_t first, int64_t rows, float* values) const;
  // False where a number is none or infinite.
  bool write(Kind kind, WeightId id, size_t part, int64_t first, int64_t rows, DType stored, const void* values);

  // Bytes of weights, gradients, moments, average and the programs' arena.
  uint64_t bytes() const;
  // Without the arena; known before they are allocated.
  uint64_t stateBytes() const { return weights_.bytes() + (averages_ ? 4 : 3) * uint64_t{floats_} * sizeof(float); }
  // What accumulate adds to that for inputs of these shapes.
  Status activationBytes(const std::vector<Shape>& shapes, uint64_t* bytes) const;

 private:
  // A program for the shapes of what is given.
  struct Compiled {
    std::vector<Shape> shapes;
    Program program;
  };
  enum class Pass { Backward, Forward };

  CompileRequest requestOf(const std::vector<Shape>& shapes, Pass pass) const;
  Status cleared(Buffer* buffer, uint64_t bytes, const char* what);
  Status reserve(const Program& program);
  Status run(const Program& program, const std::vector<Given>& given, const std::atomic<bool>& cancel,
             std::vector<std::vector<float>>* outputs);
  Status runPass(Pass pass, const std::vector<Given>& given, const std::atomic<bool>& cancel, std::vector<std::vector<float>>* outputs);
  // Addresses on the device.
  float* numbers(Kind kind, WeightId id) const;
  size_t count(WeightId id) const;
  Status clearGradients();
  // The sums of squares of the trained weights' gradients; 0 for the others.
  Status squares(std::vector<double>* sums);
  Status step(const UpdateOptions& options, const std::atomic<bool>& cancel, double* norm);

  const std::shared_ptr<Device> device_;
  Queue& queue_;
  const KernelTable* table_ = nullptr;
  Graph graph_;
  Differentiated parts_;
  WeightStore weights_;
  std::vector<bool> trained_;
  std::vector<size_t> places_;  // of trained weights, in floats of each of the buffers below
  size_t floats_ = 0;  // of each buffer
  Buffer gradients_, first_, second_, average_;
  bool averages_ = false, torn_ = false;
  int64_t steps_ = 0;
  UnitId forward_ = 0;  // units of the graph before it was differentiated
  Compiled compiled_[2];  // by Pass
  Buffer arena_;
  Buffer sums_;  // a double for each weight, then scratch
  Transfers transfers_;
};

}  // namespace asdm

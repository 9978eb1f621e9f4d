// Trains a model without JavaScript: its weights as the kernels have them, their gradients and moments, and the program that computes a loss and
// adds its gradients up. Nothing here is thread-safe; one caller at a time.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "core/memory.h"
#include "graph/differentiate.h"
#include "graph/program.h"
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
  // What accumulate is given: of the graph's inputs, then for each term its target and weights, as Differentiated has them.
  struct Given {
    const void* data = nullptr;
    Shape shape;  // channels last
  };
  enum class Kind { Weight, Gradient, First, Second, Average };

  // Differentiates the graph and makes room for its weights, which have to be written before the first step, and for gradients, moments and the
  // average of those that are trained; all of these start as zero. UnsupportedConfig where the table has no kernels for training.
  Status build(Graph graph, const KernelTable& table, const std::vector<LossTerm>& terms, const TrainerOptions& options);

  const Graph& graph() const { return graph_; }
  WeightStore& weights() { return weights_; }
  // The average becomes the weights. Before the first step, and after weights were written.
  void startAverage();

  // Forward and back: adds this batch's gradients to what is there, and gives each term's losses by sample, then the gradients of the inputs that
  // were asked for. Fails as compile does, or with Aborted; the gradients are then zero again.
  Status accumulate(const std::vector<Given>& given, ThreadPool& pool, const std::atomic<bool>& cancel, std::vector<std::vector<float>>* outputs);
  // Takes a step along the gradients, which are zero afterwards; norm: theirs, before they were clipped. InvalidArgument, naming the first weight whose
  // gradient has a number that is none or infinite; the weights are then as they were.
  Status update(const UpdateOptions& options, ThreadPool& pool, double* norm);

  // Steps taken; with weights, moments and average all that a checkpoint needs.
  int64_t steps() const { return steps_; }
  void setSteps(int64_t steps) { steps_ = steps; }
  bool trains(WeightId id) const { return trained_[static_cast<size_t>(id)]; }
  // Part of a weight, or of what belongs to it, in PyTorch's order. Gradients, moments and averages are those of trained weights only.
  std::vector<float> read(Kind kind, WeightId id, size_t part) const;
  void write(Kind kind, WeightId id, size_t part, const float* values);

  // Bytes of weights, gradients, moments, average and the last program's arena.
  uint64_t bytes() const;

 private:
  float* numbers(Kind kind, WeightId id) const;
  size_t count(WeightId id) const;
  void clearGradients();

  const KernelTable* table_ = nullptr;
  Graph graph_;
  Differentiated parts_;
  WeightStore weights_;
  std::vector<bool> trained_;
  std::vector<size_t> places_;  // of trained weights, in floats of each of what follows
  Block gradients_, first_, second_, average_;
  bool averages_ = false;
  int64_t steps_ = 0;
  std::vector<Shape> shapes_;   // those that program_ is for
  int threads_ = 0;
  Program program_;
  Block arena_, scratch_;
};

}  // namespace asdm

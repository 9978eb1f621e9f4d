#include "runtime/trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "graph/execute.h"
#include "runtime/memory_limit.h"

namespace asdm {

namespace {

bool isUnder(const std::string& name, const std::string& prefix) {
  return name.compare(0, prefix.size(), prefix) == 0 && (name.size() == prefix.size() || name[prefix.size()] == '.');
}

Status clearedBlock(Block* block, size_t bytes, const char* what) {
  ASDM_TRY(checkMemory(static_cast<double>(bytes), what));
  if (!block->allocate(std::max(bytes, kAlignment))) return outOfMemory(static_cast<double>(bytes), what);
  std::memset(static_cast<void*>(block->data()), 0, block->bytes());
  return Status::good();
}

float* floatsOf(const Block& block) { return reinterpret_cast<float*>(block.data()); }

}  // namespace

Status Trainer::build(Graph graph, const KernelTable& table, const std::vector<LossTerm>& terms, const TrainerOptions& options) {
  if (table.training.adamW.run == nullptr)
    return {Code::UnsupportedConfig, std::string("Expected the kernel set ") + table.name + " to train in " + dtypeName(table.activations) + " but it trains in fp32 only"};
  table_ = &table;
  graph_ = std::move(graph);
  size_t floats = 0;
  bool any = false;
  for (const std::string& prefix : options.trained) {
    const bool found = std::any_of(graph_.weights.begin(), graph_.weights.end(), [&](const WeightRef& w) {
      return std::any_of(w.parts.begin(), w.parts.end(), [&](const WeightPart& part) { return isUnder(part.name, prefix); });
    });
    if (!found) return {Code::InvalidArgument, "Expected a prefix of the model's weights to train but received \"" + prefix.substr(0, 120) + "\""};
  }
  ASDM_TRY(weights_.arrange(graph_, table));
  for (const WeightRef& weight : graph_.weights) {
    // Tensors that make up one product are trained together.
    const bool trained = options.trained.empty() || std::any_of(weight.parts.begin(), weight.parts.end(), [&](const WeightPart& part) {
      return std::any_of(options.trained.begin(), options.trained.end(), [&](const std::string& prefix) { return isUnder(part.name, prefix); });
    });
    trained_.push_back(trained);
    places_.push_back(floats);
    any = any || trained;
    if (trained) floats += alignUp(count(static_cast<WeightId>(places_.size()) - 1) * sizeof(float)) / sizeof(float);
  }
  if (!any) return {Code::InvalidArgument, "Expected a model with weights to train"};
  ASDM_TRY(differentiate(&graph_, terms, trained_, options.inputs, &parts_));
  ASDM_TRY(weights_.allocate(true));
  averages_ = options.average;
  ASDM_TRY(clearedBlock(&gradients_, floats * sizeof(float), "the gradients"));
  ASDM_TRY(clearedBlock(&first_, floats * sizeof(float), "the optimizer's moments"));
  ASDM_TRY(clearedBlock(&second_, floats * sizeof(float), "the optimizer's moments"));
  if (averages_) ASDM_TRY(clearedBlock(&average_, floats * sizeof(float), "the weights' average"));
  size_t scratch = kAlignment;
  for (WeightId id = 0; id < static_cast<WeightId>(trained_.size()); id++)
    scratch = std::max(scratch, table.training.squares.scratch(SquaresArgs{nullptr, static_cast<int64_t>(count(id)), nullptr}, 1));
  return clearedBlock(&scratch_, scratch, "the optimizer");
}

size_t Trainer::count(WeightId id) const {
  const WeightRef& weight = graph_.weights[static_cast<size_t>(id)];
  return weight.role == WeightRole::Matrix ? packedBytes(*table_, weight) / sizeof(float) : static_cast<size_t>(weight.count());
}

float* Trainer::numbers(Kind kind, WeightId id) const {
  const size_t at = places_[static_cast<size_t>(id)];
  switch (kind) {
    case Kind::Weight: break;
    case Kind::Gradient: return floatsOf(gradients_) + at;
    case Kind::First: return floatsOf(first_) + at;
    case Kind::Second: return floatsOf(second_) + at;
    case Kind::Average: return floatsOf(average_) + at;
  }
  return reinterpret_cast<float*>(weights_.writable(id));
}

void Trainer::startAverage() {
  for (WeightId id = 0; id < static_cast<WeightId>(trained_.size()) && averages_; id++)
    if (trains(id)) std::memcpy(numbers(Kind::Average, id), numbers(Kind::Weight, id), count(id) * sizeof(float));
}

void Trainer::clearGradients() { std::memset(static_cast<void*>(gradients_.data()), 0, gradients_.bytes()); }

Status Trainer::accumulate(const std::vector<Given>& given, ThreadPool& pool, const std::atomic<bool>& cancel, std::vector<std::vector<float>>* outputs) {
  std::vector<Shape> shapes;
  RunBindings bindings;
  for (const Given& each : given) {
    shapes.push_back(each.shape);
    bindings.inputs.push_back(each.data);
  }
  if (shapes != shapes_ || threads_ != pool.threads()) {
    shapes_.clear();
    CompileRequest request;
    request.inputs = shapes;
    request.outputs = parts_.losses;
    request.outputs.insert(request.outputs.end(), parts_.inputGradients.begin(), parts_.inputGradients.end());
    request.effects = parts_.effects;
    request.threads = pool.threads();
    ASDM_TRY(compile(graph_, *table_, request, &program_));
    const uint64_t bytes = program_.arenaBytes + program_.scratchBytes;
    if (bytes > arena_.bytes()) {
      arena_.release();
      ASDM_TRY(checkMemory(static_cast<double>(bytes), "activations"));
      if (!arena_.allocate(static_cast<size_t>(bytes))) return outOfMemory(static_cast<double>(bytes), "activations");
    }
    shapes_ = std::move(shapes);
    threads_ = pool.threads();
  }
  outputs->clear();
  for (const ProgramOutput& output : program_.outputs)
    outputs->emplace_back(static_cast<size_t>(program_.shapes[static_cast<size_t>(output.unit)].count()));
  for (std::vector<float>& each : *outputs) bindings.outputs.push_back(each.data());
  for (WeightId id = 0; id < static_cast<WeightId>(trained_.size()); id++)
    bindings.gradients.push_back(trains(id) ? numbers(Kind::Gradient, id) : nullptr);
  bindings.arena = arena_.data();
  const Status status = execute(program_, *table_, weights_, bindings, pool, cancel);
  if (!status.ok()) clearGradients();
  return status;
}

Status Trainer::update(const UpdateOptions& options, ThreadPool& pool, double* norm) {
  KernelContext context{pool, scratch_.data()};
  double squares = 0;
  for (WeightId id = 0; id < static_cast<WeightId>(trained_.size()); id++) {
    if (!trains(id)) continue;
    double sum = 0;
    table_->training.squares.run(SquaresArgs{numbers(Kind::Gradient, id), static_cast<int64_t>(count(id)), &sum}, context);
    if (!std::isfinite(sum)) {
      clearGradients();
      return {Code::InvalidArgument, "Expected finite gradients at step " + std::to_string(steps_ + 1) + " but that of " +
                                         graph_.weights[static_cast<size_t>(id)].parts[0].name + " is not"};
    }
    squares += sum;
  }
  *norm = std::sqrt(squares);
  steps_++;
  const double step = static_cast<double>(steps_);
  AdamWArgs a{};
  a.rate = options.rate;
  a.beta1 = options.beta1;
  a.beta2 = options.beta2;
  a.eps = options.eps;
  a.decay = options.decay;
  // As torch.nn.utils.clip_grad_norm_ has it.
  a.scale = options.clip > 0 ? static_cast<float>(std::min(1.0, options.clip / (*norm + 1e-6))) : 1.0f;
  a.correction1 = 1 - std::pow(static_cast<double>(options.beta1), step);
  a.correction2 = 1 - std::pow(static_cast<double>(options.beta2), step);
  for (WeightId id = 0; id < static_cast<WeightId>(trained_.size()); id++) {
    if (!trains(id)) continue;
    a.weight = numbers(Kind::Weight, id);
    a.gradient = numbers(Kind::Gradient, id);
    a.first = numbers(Kind::First, id);
    a.second = numbers(Kind::Second, id);
    a.count = static_cast<int64_t>(count(id));
    table_->training.adamW.run(a, context);
    if (averages_) table_->training.average.run(AverageArgs{numbers(Kind::Average, id), a.weight, a.count, options.keep}, context);
  }
  return Status::good();
}

std::vector<float> Trainer::read(Kind kind, WeightId id, size_t part) const {
  const WeightRef& weight = graph_.weights[static_cast<size_t>(id)];
  int64_t first = 0;
  for (size_t p = 0; p < part; p++) first += weight.parts[p].rows;
  const int64_t rows = weight.parts[part].rows, width = weight.rowWidth();
  std::vector<float> values(static_cast<size_t>(rows * width));
  const float* const from = numbers(kind, id);
  if (weight.role != WeightRole::Matrix) {
    std::memcpy(values.data(), from + first * width, values.size() * sizeof(float));
    return values;
  }
  const size_t distance = expertBytes(table_->packedBytes(weight.shape));
  for (int64_t row = 0; row < rows;) {
    const int64_t expert = (first + row) / weight.shape.n, inside = (first + row) % weight.shape.n, some = std::min(rows - row, weight.shape.n - inside);
    const std::byte* const packed = reinterpret_cast<const std::byte*>(from) + static_cast<size_t>(expert) * distance;
    table_->training.unpack(UnpackArgs{weight.shape, packed, inside, some, values.data() + row * width});
    row += some;
  }
  return values;
}

void Trainer::write(Kind kind, WeightId id, size_t part, const float* values) {
  const WeightRef& weight = graph_.weights[static_cast<size_t>(id)];
  weights_.writeTo(reinterpret_cast<std::byte*>(numbers(kind, id)), graph_, id, part, 0, weight.parts[part].rows, DType::F32, values);
}

uint64_t Trainer::bytes() const {
  return weights_.bytes() + gradients_.bytes() + first_.bytes() + second_.bytes() + average_.bytes() + arena_.bytes() + scratch_.bytes();
}

}  // namespace asdm

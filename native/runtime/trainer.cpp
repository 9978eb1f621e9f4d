#include "runtime/trainer.h"

#include <algorithm>
#include <cmath>

#include "core/memory.h"
#include "graph/execute.h"

namespace asdm {

namespace {

bool isUnder(const std::string& name, const std::string& prefix) {
  return name.compare(0, prefix.size(), prefix) == 0 && (name.size() == prefix.size() || name[prefix.size()] == '.');
}

float* floatsOf(const Buffer& buffer) { return reinterpret_cast<float*>(buffer.data()); }

}  // namespace

Status Trainer::build(Graph graph, const KernelTable& table, const std::vector<LossTerm>& terms, const TrainerOptions& options) {
  if (table.adamW.run == nullptr)
    return {Code::UnsupportedConfig, std::string("Expected the kernel set ") + table.name + " to train in " + dtypeName(table.activations) +
                                         " but it trains in fp32 only"};
  table_ = &table;
  graph_ = std::move(graph);
  bool any = false;
  for (const std::string& prefix : options.trained) {
    const bool found = std::any_of(graph_.weights.begin(), graph_.weights.end(), [&](const WeightRef& w) {
      return std::any_of(w.parts.begin(), w.parts.end(), [&](const WeightPart& part) { return isUnder(part.name, prefix); });
    });
    if (!found)
      return {Code::InvalidArgument, "Expected a prefix of the model's weights to train but received \"" + prefix.substr(0, 120) + "\""};
  }
  ASDM_TRY(weights_.arrange(graph_, table));
  for (const WeightRef& weight : graph_.weights) {
    // Tensors that make up one product are trained together.
    const bool trained = options.trained.empty() || std::any_of(weight.parts.begin(), weight.parts.end(), [&](const WeightPart& part) {
                           return std::any_of(options.trained.begin(), options.trained.end(),
                                              [&](const std::string& prefix) { return isUnder(part.name, prefix); });
                         });
    trained_.push_back(trained);
    places_.push_back(floats_);
    any = any || trained;
    if (trained)
      floats_ += alignUp(count(static_cast<WeightId>(places_.size()) - 1) * sizeof(float), table.traits->alignment) / sizeof(float);
  }
  if (!any) return {Code::InvalidArgument, "Expected a model with weights to train"};
  forward_ = graph_.size();
  averages_ = options.average;
  return differentiate(&graph_, terms, trained_, options.inputs, &parts_);
}

Status Trainer::cleared(Buffer* buffer, uint64_t bytes, const char* what) {
  ASDM_TRY(checkRoom(*device_, static_cast<double>(bytes), what));
  if (!buffer->allocate(device_, std::max(bytes, device_->traits().alignment))) return outOfMemory(static_cast<double>(bytes), what);
  queue_.fill(buffer->data(), 0, buffer->bytes());
  return statusOf(queue_.finish());
}

Status Trainer::allocate() {
  ASDM_TRY(weights_.allocate(queue_, WeightStore::Gaps::Cleared));
  ASDM_TRY(cleared(&gradients_, floats_ * sizeof(float), "the gradients"));
  ASDM_TRY(cleared(&first_, floats_ * sizeof(float), "the optimizer's moments"));
  ASDM_TRY(cleared(&second_, floats_ * sizeof(float), "the optimizer's moments"));
  if (averages_) ASDM_TRY(cleared(&average_, floats_ * sizeof(float), "the weights' average"));
  size_t scratch = 0;
  for (WeightId id = 0; id < static_cast<WeightId>(trained_.size()); id++)
    scratch = std::max(scratch, table_->squares.scratch(SquaresArgs{nullptr, static_cast<int64_t>(count(id)), nullptr}, queue_.threads()));
  return cleared(&sums_, alignUp(trained_.size() * sizeof(double), table_->traits->alignment) + scratch, "the optimizer");
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

Status Trainer::startAverage() {
  for (WeightId id = 0; id < static_cast<WeightId>(trained_.size()) && averages_; id++) {
    const auto bytes = static_cast<int64_t>(count(id) * sizeof(float));
    if (trains(id)) table_->copy.run(CopyArgs{numbers(Kind::Weight, id), bytes, numbers(Kind::Average, id)}, queue_);
  }
  return statusOf(queue_.finish());
}

Status Trainer::reset() {
  ASDM_TRY(startAverage());
  for (const Buffer* buffer : {&first_, &second_}) queue_.fill(buffer->data(), 0, buffer->bytes());
  return clearGradients();
}

Status Trainer::clearGradients() {
  queue_.fill(gradients_.data(), 0, gradients_.bytes());
  return statusOf(queue_.finish());
}

CompileRequest Trainer::requestOf(const std::vector<Shape>& shapes, Pass pass) const {
  CompileRequest request;
  request.inputs = shapes;
  request.outputs = parts_.losses;
  request.threads = queue_.threads();
  if (pass == Pass::Forward) return request;
  request.outputs.insert(request.outputs.end(), parts_.inputGradients.begin(), parts_.inputGradients.end());
  request.effects = parts_.effects;
  return request;
}

Status Trainer::activationBytes(const std::vector<Shape>& shapes, uint64_t* bytes) const {
  Program program;
  ASDM_TRY(compile(graph_, *table_, requestOf(shapes, Pass::Backward), &program));
  *bytes = program.arenaBytes + program.scratchBytes;
  return Status::good();
}

Status Trainer::reserve(const Program& program) {
  const uint64_t bytes = program.arenaBytes + program.scratchBytes;
  if (bytes <= arena_.bytes()) return Status::good();
  arena_.release();
  ASDM_TRY(checkRoom(*device_, static_cast<double>(bytes), "activations"));
  return arena_.allocate(device_, bytes) ? Status::good() : outOfMemory(static_cast<double>(bytes), "activations");
}

Status Trainer::run(const Program& program, const std::vector<Given>& given, const std::atomic<bool>& cancel,
                    std::vector<std::vector<float>>* outputs) {
  ASDM_TRY(reserve(program));
  std::vector<const void*> inputs;
  for (const Given& each : given) inputs.push_back(each.data);
  outputs->clear();
  for (const ProgramOutput& output : program.outputs)
    outputs->emplace_back(static_cast<size_t>(program.shapes[static_cast<size_t>(output.unit)].count()));
  std::vector<float*> wanted;
  for (std::vector<float>& each : *outputs) wanted.push_back(each.data());
  RunBindings bindings;
  bindings.weights = weights_.addresses();
  for (WeightId id = 0; id < static_cast<WeightId>(trained_.size()); id++)
    bindings.gradients.push_back(trains(id) ? numbers(Kind::Gradient, id) : nullptr);
  bindings.arena = arena_.data();
  ASDM_TRY(transfers_.bind(graph_, program, queue_, inputs, wanted, &bindings));
  ASDM_TRY(execute(program, *table_, bindings, queue_, cancel));
  return transfers_.collect(program, queue_, wanted, bindings);
}

Status Trainer::runPass(Pass pass, const std::vector<Given>& given, const std::atomic<bool>& cancel,
                        std::vector<std::vector<float>>* outputs) {
  if (torn_)
    return {Code::InvalidArgument, "Expected a trainer in use but its last update was aborted halfway; restore a checkpoint first"};
  std::vector<Shape> shapes;
  for (const Given& each : given) shapes.push_back(each.shape);
  Compiled& compiled = compiled_[static_cast<size_t>(pass)];
  if (shapes != compiled.shapes) {
    compiled.shapes.clear();
    ASDM_TRY(compile(graph_, *table_, requestOf(shapes, pass), &compiled.program));
    compiled.shapes = std::move(shapes);
  }
  return run(compiled.program, given, cancel, outputs);
}

Status Trainer::accumulate(const std::vector<Given>& given, const std::atomic<bool>& cancel, std::vector<std::vector<float>>* outputs) {
  const Status status = runPass(Pass::Backward, given, cancel, outputs);
  if (!status.ok()) ASDM_TRY(clearGradients());
  return status;
}

Status Trainer::evaluate(const std::vector<Given>& given, const std::atomic<bool>& cancel, std::vector<std::vector<float>>* losses) {
  return runPass(Pass::Forward, given, cancel, losses);
}

Status Trainer::firstNonFinite(const std::vector<Given>& given, const std::atomic<bool>& cancel, UnitId* unit) {
  CompileRequest request;
  for (const Given& each : given) request.inputs.push_back(each.shape);
  for (UnitId id = 0; id < forward_; id++)
    if (graph_[id].op != Op::Input) request.outputs.push_back(id);
  request.threads = queue_.threads();
  Program program;
  ASDM_TRY(compile(graph_, *table_, request, &program));
  std::vector<std::vector<float>> values;
  ASDM_TRY(run(program, given, cancel, &values));
  *unit = kNoUnit;
  for (size_t i = 0; i < values.size() && *unit == kNoUnit; i++)
    if (!std::all_of(values[i].begin(), values[i].end(), [](float value) { return std::isfinite(value); })) *unit = program.outputs[i].unit;
  return Status::good();
}

Status Trainer::squares(std::vector<double>* sums) {
  sums->assign(trained_.size(), 0);
  const uint64_t bytes = sums->size() * sizeof(double);
  double* const there = reinterpret_cast<double*>(sums_.data());
  queue_.fill(there, 0, bytes);
  queue_.setScratch(sums_.data() + alignUp(bytes, table_->traits->alignment));
  for (WeightId id = 0; id < static_cast<WeightId>(trained_.size()); id++)
    if (trains(id)) table_->squares.run(SquaresArgs{numbers(Kind::Gradient, id), static_cast<int64_t>(count(id)), there + id}, queue_);
  queue_.download(sums->data(), there, bytes);
  return statusOf(queue_.finish());
}

Status Trainer::update(const UpdateOptions& options, const std::atomic<bool>& cancel, double* norm) {
  if (torn_)
    return {Code::InvalidArgument, "Expected a trainer in use but its last update was aborted halfway; restore a checkpoint first"};
  Status status;
  {
    const CancelScope scope(queue_, cancel);
    status = step(options, cancel, norm);
  }
  if (!status.ok()) ASDM_TRY(clearGradients());
  return status;
}

Status Trainer::step(const UpdateOptions& options, const std::atomic<bool>& cancel, double* norm) {
  std::vector<double> sums;
  ASDM_TRY(squares(&sums));
  double all = 0;
  for (size_t id = 0; id < sums.size(); id++) {
    if (!std::isfinite(sums[id]))
      return {Code::InvalidArgument, "Expected finite gradients at step " + std::to_string(steps_ + 1) + " but that of " +
                                         graph_.weights[id].parts[0].name + " is not"};
    all += sums[id];
  }
  *norm = std::sqrt(all);
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
  torn_ = true;  // until all weights have changed
  for (WeightId id = 0; id < static_cast<WeightId>(trained_.size()) && !cancel.load(std::memory_order_relaxed); id++) {
    if (!trains(id)) continue;
    a.weight = numbers(Kind::Weight, id);
    a.gradient = numbers(Kind::Gradient, id);
    a.first = numbers(Kind::First, id);
    a.second = numbers(Kind::Second, id);
    a.count = static_cast<int64_t>(count(id));
    table_->adamW.run(a, queue_);
    if (averages_) table_->average.run(AverageArgs{numbers(Kind::Average, id), a.weight, a.count, options.keep}, queue_);
  }
  ASDM_TRY(statusOf(queue_.finish()));
  torn_ = false;
  return Status::good();
}

Status Trainer::read(Kind kind, WeightId id, size_t part, int64_t first, int64_t rows, float* values) const {
  const WeightRef& weight = graph_.weights[static_cast<size_t>(id)];
  for (size_t p = 0; p < part; p++) first += weight.parts[p].rows;
  const int64_t width = weight.rowWidth();
  const float* const from = numbers(kind, id);
  if (weight.role != WeightRole::Matrix) {
    queue_.download(values, from + first * width, static_cast<uint64_t>(rows * width) * sizeof(float));
    return statusOf(queue_.finish());
  }
  const size_t distance = expertBytes(table_->packedBytes(weight.shape));
  for (int64_t row = 0; row < rows;) {
    const int64_t expert = (first + row) / weight.shape.n, inside = (first + row) % weight.shape.n,
                  some = std::min(rows - row, weight.shape.n - inside);
    const std::byte* const packed = reinterpret_cast<const std::byte*>(from) + static_cast<size_t>(expert) * distance;
    table_->unpack(UnpackArgs{weight.shape, packed, inside, some, values + row * width}, queue_);
    row += some;
  }
  return statusOf(queue_.finish());
}

bool Trainer::write(Kind kind, WeightId id, size_t part, int64_t first, int64_t rows, DType stored, const void* values) {
  return weights_.writeTo(queue_, reinterpret_cast<std::byte*>(numbers(kind, id)), graph_, id, part, first, rows, stored, values);
}

uint64_t Trainer::bytes() const {
  return weights_.bytes() + gradients_.bytes() + first_.bytes() + second_.bytes() + average_.bytes() + arena_.bytes() + sums_.bytes();
}

}  // namespace asdm

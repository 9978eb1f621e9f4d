#include "runtime/run.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/memory.h"
#include "runtime/requests.h"

namespace asdm {

namespace {

// Each pass is a program of its own.
constexpr size_t kMostPasses = 2048;

Status checkSteps(const RunSpec& spec, size_t unets) {
  size_t passes = 0;
  for (size_t s = 0; s < spec.steps.size(); s++) {
    const RunStep& step = spec.steps[s];
    const std::string at = " at step " + std::to_string(s);
    if (step.unet >= unets)
      return {Code::InvalidArgument,
              "Expected one of " + std::to_string(unets) + " UNets" + at + " but received number " + std::to_string(step.unet)};
    if (step.choices.size() > kMostChoices)
      return {Code::InvalidArgument, "Expected at most " + std::to_string(kMostChoices) + " choices" + at + " but received " +
                                         std::to_string(step.choices.size())};
    if (step.probe && (step.unet >= spec.probes.size() || spec.probes[step.unet].empty()))
      return {Code::InvalidArgument, "Expected probes of the UNet that is probed" + at + " but there are none"};
    passes += size_t{1} << step.choices.size();
  }
  if (passes > kMostPasses)
    return {Code::InvalidArgument, "Expected the choices of all steps to make at most " + std::to_string(kMostPasses) +
                                       " passes but they make " + std::to_string(passes)};
  for (size_t m = 0; m < spec.maps.size(); m++)
    if (spec.maps[m].from >= unets || spec.maps[m].to >= unets || spec.maps[m].from == spec.maps[m].to)
      return {Code::InvalidArgument, "Expected maps[" + std::to_string(m) + "] to join two of " + std::to_string(unets) +
                                         " UNets but received numbers " + std::to_string(spec.maps[m].from) + " and " +
                                         std::to_string(spec.maps[m].to)};
  return Status::good();
}

RunPassInfo passInfo(const std::vector<RunModel>& models, size_t unet, const PlannedPass& pass) {
  RunPassInfo row;
  row.program = pass.program;
  row.macs = pass.macs;
  row.units = pass.units;
  for (const InheritedValue& value : pass.inherited)
    row.inherited.push_back({(*models[unet].graph)[value.unit].name, value.source, value.unet});
  return row;
}

RunInfo runInfo(const std::vector<RunModel>& models, const RunSpec& spec, const RunPlan& plan) {
  RunInfo info;
  info.keptBytes = plan.keptBytes;
  const auto namesOf = [&](size_t unet, const std::vector<UnitId>& units) {
    std::vector<std::string> names;
    for (UnitId u : units) names.push_back((*models[unet].graph)[u].name);
    return names;
  };
  for (size_t n = 0; n < plan.unets.size(); n++) {
    info.fullMacs.push_back(plan.unets[n].fullMacs);
    info.constants.push_back({plan.unets[n].constants.bytes, plan.unets[n].constantMacs, plan.unets[n].constants.macs});
    info.units.push_back(namesOf(n, plan.unets[n].units));
  }
  std::vector<size_t> owner(plan.programs.size());
  for (size_t s = 0; s < plan.steps.size(); s++) {
    const size_t unet = spec.steps[s].unet;
    RunStepInfo row;
    row.unet = unet;
    for (const PlannedPass& pass : plan.steps[s].variants) {
      row.variants.push_back(passInfo(models, unet, pass));
      owner[pass.program] = unet;
    }
    if (plan.steps[s].probe.program != kNoProgram) {
      row.probed = true;
      row.probe = plan.steps[s].probe.program;
      owner[plan.steps[s].probe.program] = unet;
    }
    info.steps.push_back(std::move(row));
  }
  for (size_t p = 0; p < plan.programs.size(); p++) info.programs.push_back(namesOf(owner[p], plan.programs[p].units));
  return info;
}

}  // namespace

bool ConstantState::hold(Numbers text, bool half) const {
  const std::vector<float>& known = half ? half_ : whole_;
  return !known.empty() && known.size() == text.count && std::memcmp(known.data(), text.data, text.count * sizeof(float)) == 0;
}

void ConstantState::set(Numbers text, bool half) {
  if (half) {
    whole_.clear();  // half of its place has been overwritten
    half_.assign(text.data, text.data + text.count);
  } else {
    whole_.assign(text.data, text.data + text.count);
    half_.assign(text.data + text.count / 2, text.data + text.count);
  }
}

Status Run::create(const std::vector<RunModel>& models, const ForwardShape& shape, const RunSpec& spec, const std::atomic<bool>& cancel,
                   std::shared_ptr<Run>* out, RunInfo* info) {
  ASDM_TRY(checkSteps(spec, models.size()));
  if (models.empty()) return {Code::InvalidArgument, "Expected at least one UNet to run but received none"};
  auto run = std::make_shared<Run>();
  run->device_ = models[0].device;
  run->shape_ = shape;
  if (run->shape_.length == 0) run->shape_.length = models[0].graph->usualLength;
  run->steps_ = spec.steps;
  const bool halves = std::any_of(spec.steps.begin(), spec.steps.end(), [](const RunStep& step) { return step.conditionalOnly; });
  if (halves && shape.batch % 2 != 0)
    return {Code::ShapeMismatch,
            "Expected an even batch, unconditional half first, for steps without guidance but received " + std::to_string(shape.batch)};
  RunRequest request;
  request.steps = spec.steps;
  request.maps = spec.maps;
  request.continued = spec.extrapolate != 0;
  request.computeMissing = spec.computeMissing;
  for (size_t m = 0; m < models.size(); m++) {
    if (models[m].graph->constantInputs.empty()) return {Code::InvalidArgument, "Expected a run of a UNet but this model is another kind"};
    if (models[m].device != run->device_)
      return {Code::InvalidArgument,
              std::string("Expected all UNets of a run on ") + run->device_->name() + " but one is on " + models[m].device->name()};
    run->tables_.push_back(models[m].table);
    RunUNet unet;
    run->graphs_.push_back(models[m].graph);
    unet.graph = models[m].graph.get();
    unet.table = models[m].table;
    unet.threads = models[m].threads;
    if (m < spec.probes.size()) unet.probes = spec.probes[m];
    ASDM_TRY(graphInputs(*models[m].graph, run->shape_, &unet.inputs));
    ForwardShape half = run->shape_;
    half.batch /= 2;
    if (halves) ASDM_TRY(graphInputs(*models[m].graph, half, &unet.halfInputs));
    request.unets.push_back(std::move(unet));
  }
  ASDM_TRY(compileRun(request, cancel, &run->plan));
  run->histories_ = FeatureHistories(run->plan.histories, spec.extrapolate);
  run->measured_.resize(models.size());
  run->constants.resize(models.size());
  for (const PlannedUNet& unet : run->plan.unets) run->renewed_.emplace_back(unet.probes.size());
  *info = runInfo(models, spec, run->plan);
  *out = std::move(run);
  return Status::good();
}

Status Run::condition(HostInputs values) {
  for (const auto& value : values) {
    const auto isInput = [&](const std::shared_ptr<const Graph>& graph) {
      for (size_t i = 0; i < graph->inputShapes.size(); i++)
        if (graph->inputShapes[i].perRequest && (*graph)[graph->inputs[i]].name == value.first) return true;
      return false;
    };
    if (std::none_of(graphs_.begin(), graphs_.end(), isInput))
      return {Code::InvalidArgument,
              "Expected the run to be conditioned by inputs of its UNets but received \"" + value.first.substr(0, 120) + "\""};
  }
  ForwardShape shape;
  shape.batch = 0;
  shape.length = shape_.length;
  for (const std::shared_ptr<const Graph>& graph : graphs_) ASDM_TRY(checkValues(*graph, Given::PerRequest, values, &shape));
  const bool half = shape.batch != shape_.batch;
  if (half && (shape_.batch % 2 != 0 || shape.batch != shape_.batch / 2))
    return {Code::ShapeMismatch, "Expected the run to be conditioned for its batch of " + std::to_string(shape_.batch) + " but received " +
                                     std::to_string(shape.batch)};
  const std::lock_guard<std::mutex> lock(mutex);
  conditions_ = std::move(values);
  conditionsOfHalf_ = half;
  return Status::good();
}

Status Run::inputsOf(size_t step, const HostInputs& given, std::vector<const void*>* inputs) const {
  if (conditions_.empty()) return {Code::InvalidArgument, "Expected the run to be conditioned before its passes but it was not"};
  const bool half = isHalf(step);
  if (conditionsOfHalf_ && !half)
    return {Code::ShapeMismatch, "Expected the run to be conditioned for its batch of " + std::to_string(shape_.batch) + " at step " +
                                     std::to_string(step) + " but received " + std::to_string(shape_.batch / 2)};
  const Graph& graph = *graphs_[unetOf(step)];
  for (size_t i = 0; i < graph.inputShapes.size(); i++) {
    const std::string& name = graph[graph.inputs[i]].name;
    const HostInput& value = graph.inputShapes[i].perRequest ? conditions_.at(name) : given.at(name);
    const bool second = graph.inputShapes[i].perRequest && half && !conditionsOfHalf_;
    inputs->push_back(value.bytes.data() + (second ? value.bytes.size() / 2 : 0));
  }
  return Status::good();
}

Numbers Run::textOf(size_t step) const {
  const Graph& graph = *graphs_[unetOf(step)];
  const HostInput& text = conditions_.at(graph[graph.constantInputs[0]].name);
  const size_t count = text.bytes.size() / sizeof(float);
  return isHalf(step) && !conditionsOfHalf_ ? Numbers{text.as<float>() + count / 2, count / 2} : Numbers{text.as<float>(), count};
}

Status Run::checkTurn(size_t step, bool probe) const {
  if (broken) return {Code::InvalidArgument, "Expected a run whose passes all ended but an earlier one was aborted or failed"};
  if (step != next || step >= steps_.size())
    return {Code::InvalidArgument, "Expected step " + std::to_string(next) + " of " + std::to_string(steps_.size()) +
                                       " to come next but received " + std::to_string(step)};
  const bool due = steps_[step].probe && !probed;
  if (probe != due)
    return {Code::InvalidArgument, due ? "Expected the probe of step " + std::to_string(step) + " before its pass"
                                       : "Expected no probe of step " + std::to_string(step) + " at this point"};
  return Status::good();
}

Status Run::checkSize(size_t step, const ForwardShape& shape) const {
  const int64_t batch = steps_[step].conditionalOnly ? shape_.batch / 2 : shape_.batch;
  if (shape.batch == batch && shape.height == shape_.height && shape.width == shape_.width) return Status::good();
  return {Code::ShapeMismatch, "Expected inputs of the run's size (batch " + std::to_string(batch) + ") at step " + std::to_string(step) +
                                   " but received batch " + std::to_string(shape.batch) + ", " + std::to_string(shape.height) + " by " +
                                   std::to_string(shape.width)};
}

Status Run::checkProbes(size_t unet, const std::vector<size_t>& numbers) const {
  if (!numbers.empty() && !measured_[unet])
    return {Code::InvalidArgument,
            "Expected nothing to renew before the UNet's first probe but received " + std::to_string(numbers.size()) + " numbers"};
  for (size_t number : numbers)
    if (number >= renewed_[unet].size())
      return {Code::InvalidArgument,
              "Expected numbers of the UNet's " + std::to_string(renewed_[unet].size()) + " probes but received " + std::to_string(number)};
  return Status::good();
}

Status Run::reserve(uint64_t besides) {
  const uint64_t wanted = plan.keptBytes + plan.constantBytes;
  if (kept.bytes() >= wanted) return Status::good();
  const auto bytes = static_cast<double>(wanted);
  ASDM_TRY(checkRoom(*device_, bytes + static_cast<double>(besides), "weights and kept features"));
  return kept.allocate(device_, wanted) ? Status::good() : outOfMemory(bytes, "kept features");
}

Status Run::prepare(const PlannedPass& pass, size_t step, double time, Queue& queue, const std::atomic<bool>& cancel) {
  if (pass.continues.empty()) return Status::good();
  const CancelScope scope(queue, cancel);
  histories_.resume(pass.continues, kept.data(), isHalf(step), time, *tables_[steps_[step].unet], queue);
  return statusOf(queue.finish());
}

Status Run::finish(const PlannedPass& pass, size_t step, double time, Queue& queue, const std::atomic<bool>& cancel) {
  if (pass.copies.empty() && pass.notes.empty()) return Status::good();
  const CancelScope scope(queue, cancel);
  const KernelTable& table = *tables_[steps_[step].unet];
  for (const KeptCopy& each : pass.copies)
    table.copy.run({kept.data() + each.from, static_cast<int64_t>(each.bytes), kept.data() + each.to}, queue);
  histories_.note(pass.notes, kept.data(), isHalf(step), time, table, queue);
  return statusOf(queue.finish());
}

Status Run::renew(size_t unet, const std::vector<size_t>& numbers, Queue& queue, const std::atomic<bool>& cancel) {
  if (numbers.empty()) return Status::good();
  const CancelScope scope(queue, cancel);
  for (size_t number : numbers) {
    for (const ProbedValue& value : plan.unets[unet].probes[number]) {
      const int64_t bytes = static_cast<int64_t>(value.count) * dtypeBytes(plan.unets[unet].activations);
      tables_[unet]->copy.run({kept.data() + value.now, bytes, kept.data() + value.before}, queue);
    }
    renewed_[unet][number] = true;
  }
  return statusOf(queue.finish());
}

namespace {

ChangeArgs changeOf(const ProbedValue& value, std::byte* kept, double* sums) {
  return {kept + value.now, kept + value.before, static_cast<int64_t>(value.count), sums};
}

}  // namespace

Status Run::reserveSums(size_t unet, const Queue& queue) {
  const auto& probes = plan.unets[unet].probes;
  uint64_t scratch = 0;
  for (const std::vector<ProbedValue>& probe : probes)
    for (const ProbedValue& value : probe)
      if (tables_[unet]->change.scratch != nullptr)
        scratch = std::max<uint64_t>(scratch, tables_[unet]->change.scratch(changeOf(value, nullptr, nullptr), queue.threads()));
  const uint64_t bytes = alignUp(2 * sizeof(double) * probes.size(), device_->traits().alignment) + scratch;
  return sums_.bytes() >= bytes || sums_.allocate(device_, bytes) ? Status::good()
                                                                  : outOfMemory(static_cast<double>(bytes), "measured changes");
}

Status Run::changes(size_t unet, Queue& queue, const std::atomic<bool>& cancel, std::vector<double>* changes) {
  const CancelScope scope(queue, cancel);
  measured_[unet] = true;
  const std::vector<bool>& renewed = renewed_[unet];
  std::vector<double> sums(2 * renewed.size());
  if (std::find(renewed.begin(), renewed.end(), true) != renewed.end()) {
    ASDM_TRY(reserveSums(unet, queue));
    double* const there = reinterpret_cast<double*>(sums_.data());
    queue.fill(there, 0, sums.size() * sizeof(double));
    queue.setScratch(sums_.data() + alignUp(sums.size() * sizeof(double), device_->traits().alignment));
    for (size_t number = 0; number < renewed.size(); number++)
      for (const ProbedValue& value : plan.unets[unet].probes[number])
        if (renewed[number]) tables_[unet]->change.run(changeOf(value, kept.data(), there + 2 * number), queue);
    queue.download(sums.data(), there, sums.size() * sizeof(double));
  }
  ASDM_TRY(statusOf(queue.finish()));
  changes->clear();
  for (size_t number = 0; number < renewed.size(); number++) {
    const double difference = sums[2 * number], size = sums[2 * number + 1];
    const double change = renewed[number] && size > 0 ? difference / size : std::numeric_limits<double>::infinity();
    changes->push_back(std::isfinite(change) ? change : std::numeric_limits<double>::infinity());
  }
  return Status::good();
}

}  // namespace asdm

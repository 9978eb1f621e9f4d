#include "runtime/run.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/bf16.h"
#include "runtime/memory_limit.h"
#include "runtime/pieces.h"
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
      return {Code::InvalidArgument, "Expected one of " + std::to_string(unets) + " UNets" + at + " but received number " + std::to_string(step.unet)};
    if (step.choices.size() > kMostChoices)
      return {Code::InvalidArgument, "Expected at most " + std::to_string(kMostChoices) + " choices" + at + " but received " + std::to_string(step.choices.size())};
    if (step.probe && (step.unet >= spec.probes.size() || spec.probes[step.unet].empty()))
      return {Code::InvalidArgument, "Expected probes of the UNet that is probed" + at + " but there are none"};
    passes += size_t{1} << step.choices.size();
  }
  if (passes > kMostPasses)
    return {Code::InvalidArgument, "Expected the choices of all steps to make at most " + std::to_string(kMostPasses) + " passes but they make " + std::to_string(passes)};
  for (size_t m = 0; m < spec.maps.size(); m++)
    if (spec.maps[m].from >= unets || spec.maps[m].to >= unets || spec.maps[m].from == spec.maps[m].to)
      return {Code::InvalidArgument, "Expected maps[" + std::to_string(m) + "] to join two of " + std::to_string(unets) + " UNets but received numbers " +
                                         std::to_string(spec.maps[m].from) + " and " + std::to_string(spec.maps[m].to)};
  return Status::good();
}

RunPassInfo passInfo(const std::vector<RunModel>& models, size_t unet, const PlannedPass& pass) {
  RunPassInfo row;
  row.program = pass.program;
  row.macs = pass.macs;
  row.units = pass.units;
  for (const InheritedValue& value : pass.inherited) row.inherited.push_back({(*models[unet].graph)[value.unit].name, value.source, value.unet});
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

Status ended(const std::atomic<bool>& cancel) {
  return cancel.load(std::memory_order_relaxed) ? Status{Code::Aborted, "The operation was aborted"} : Status::good();
}

struct Sums {
  double difference = 0, size = 0;
};

template <class Element>
Sums sumsOf(const std::byte* now, const std::byte* before, uint64_t begin, uint64_t end) {
  const auto *a = reinterpret_cast<const Element*>(now), *b = reinterpret_cast<const Element*>(before);
  Sums sums;
  for (uint64_t i = begin; i < end; i++) {
    const double x = toFloat(a[i]), y = toFloat(b[i]);
    sums.difference += std::fabs(x - y);
    sums.size += std::fabs(y);
  }
  return sums;
}

}  // namespace

bool ConstantState::hold(const std::vector<float>& text, bool half) const {
  const std::vector<float>& known = half ? half_ : whole_;
  return !known.empty() && known.size() == text.size() && std::memcmp(known.data(), text.data(), text.size() * sizeof(float)) == 0;
}

void ConstantState::set(const std::vector<float>& text, bool half) {
  if (half) {
    whole_.clear();  // half of its place has been overwritten
    half_ = text;
  } else {
    whole_ = text;
    half_.assign(text.begin() + static_cast<std::ptrdiff_t>(text.size() / 2), text.end());
  }
}

Status Run::create(const std::vector<RunModel>& models, const ForwardShape& shape, const RunSpec& spec, std::shared_ptr<Run>* out,
                   RunInfo* info) {
  ASDM_TRY(checkSteps(spec, models.size()));
  auto run = std::make_shared<Run>();
  run->shape_ = shape;
  if (run->shape_.length == 0) run->shape_.length = 77;  // as graphInputs takes it
  run->steps_ = spec.steps;
  const bool halves = std::any_of(spec.steps.begin(), spec.steps.end(), [](const RunStep& step) { return step.conditionalOnly; });
  if (halves && shape.batch % 2 != 0)
    return {Code::ShapeMismatch, "Expected an even batch, unconditional half first, for steps without guidance but received " + std::to_string(shape.batch)};
  RunRequest request;
  request.steps = spec.steps;
  request.maps = spec.maps;
  request.continued = spec.extrapolate != 0;
  for (size_t m = 0; m < models.size(); m++) {
    if (models[m].spec->kind != ModelKind::UNet) return {Code::InvalidArgument, "Expected a run of a UNet but this model is another kind"};
    RunUNet unet;
    unet.graph = models[m].graph;
    unet.table = models[m].table;
    unet.threads = models[m].threads;
    if (m < spec.probes.size()) unet.probes = spec.probes[m];
    ASDM_TRY(graphInputs(*models[m].spec, run->shape_, &unet.inputs));
    ForwardShape half = run->shape_;
    half.batch /= 2;
    if (halves) ASDM_TRY(graphInputs(*models[m].spec, half, &unet.halfInputs));
    request.unets.push_back(std::move(unet));
  }
  ASDM_TRY(compileRun(request, &run->plan));
  run->histories_ = FeatureHistories(run->plan.histories, spec.extrapolate);
  run->measured_.resize(models.size());
  run->constants.resize(models.size());
  for (const PlannedUNet& unet : run->plan.unets) run->renewed_.emplace_back(unet.probes.size());
  *info = runInfo(models, spec, run->plan);
  *out = std::move(run);
  return Status::good();
}

Status Run::checkTurn(size_t step, size_t unet, bool probe) const {
  if (broken) return {Code::InvalidArgument, "Expected a run whose passes all ended but an earlier one was aborted or failed"};
  if (step != next || step >= steps_.size())
    return {Code::InvalidArgument, "Expected step " + std::to_string(next) + " of " + std::to_string(steps_.size()) + " to come next but received " + std::to_string(step)};
  if (steps_[step].unet != unet)
    return {Code::InvalidArgument, "Expected step " + std::to_string(step) + " to run on UNet " + std::to_string(steps_[step].unet) + " but received it for UNet " + std::to_string(unet)};
  const bool due = steps_[step].probe && !probed;
  if (probe != due)
    return {Code::InvalidArgument, due ? "Expected the probe of step " + std::to_string(step) + " before its pass" : "Expected no probe of step " + std::to_string(step) + " at this point"};
  return Status::good();
}

Status Run::checkSize(size_t step, const ForwardShape& shape) const {
  const int64_t batch = steps_[step].conditionalOnly ? shape_.batch / 2 : shape_.batch;
  if (shape.batch == batch && shape.height == shape_.height && shape.width == shape_.width && shape.length == shape_.length) return Status::good();
  return {Code::ShapeMismatch, "Expected inputs of the run's size (batch " + std::to_string(batch) + ") at step " + std::to_string(step) +
                                   " but received batch " + std::to_string(shape.batch) + ", " + std::to_string(shape.height) + " by " +
                                   std::to_string(shape.width) + ", length " + std::to_string(shape.length)};
}

Status Run::checkProbes(size_t unet, const std::vector<size_t>& numbers) const {
  if (!numbers.empty() && !measured_[unet]) return {Code::InvalidArgument, "Expected nothing to renew before the UNet's first probe but received " + std::to_string(numbers.size()) + " numbers"};
  for (size_t number : numbers)
    if (number >= renewed_[unet].size())
      return {Code::InvalidArgument, "Expected numbers of the UNet's " + std::to_string(renewed_[unet].size()) + " probes but received " + std::to_string(number)};
  return Status::good();
}

Status Run::reserve(uint64_t besides) {
  const uint64_t wanted = plan.keptBytes + plan.constantBytes;
  if (kept.bytes() >= wanted) return Status::good();
  const auto bytes = static_cast<double>(wanted);
  ASDM_TRY(checkMemory(bytes + static_cast<double>(besides), "weights and kept features"));
  return kept.allocate(wanted) ? Status::good() : outOfMemory(bytes, "kept features");
}

Status Run::prepare(const PlannedPass& pass, size_t step, double time, ThreadPool& pool, const std::atomic<bool>& cancel) {
  const ThreadPool::Pass scope(pool, cancel);
  histories_.resume(pass.continues, kept.data(), isHalf(step), time, pool);
  return ended(cancel);
}

Status Run::finish(const PlannedPass& pass, size_t step, double time, ThreadPool& pool, const std::atomic<bool>& cancel) {
  const ThreadPool::Pass scope(pool, cancel);
  for (const KeptCopy& each : pass.copies) copyBytes(kept.data() + each.to, kept.data() + each.from, each.bytes, pool);
  histories_.note(pass.notes, kept.data(), isHalf(step), time, pool);
  return ended(cancel);
}

Status Run::renew(size_t unet, const std::vector<size_t>& numbers, ThreadPool& pool, const std::atomic<bool>& cancel) {
  const ThreadPool::Pass scope(pool, cancel);
  for (size_t number : numbers) {
    for (const ProbedValue& value : plan.unets[unet].probes[number])
      copyBytes(kept.data() + value.before, kept.data() + value.now, value.count * static_cast<uint64_t>(dtypeBytes(plan.unets[unet].activations)), pool);
    renewed_[unet][number] = true;
  }
  return ended(cancel);
}

Status Run::changes(size_t unet, ThreadPool& pool, const std::atomic<bool>& cancel, std::vector<double>* changes) {
  const ThreadPool::Pass scope(pool, cancel);
  measured_[unet] = true;
  changes->clear();
  for (size_t number = 0; number < renewed_[unet].size(); number++) {
    Sums sums;
    for (const ProbedValue& value : plan.unets[unet].probes[number]) {
      if (!renewed_[unet][number]) break;
      // Each piece by itself, then the pieces in order: threads change nothing.
      std::vector<Sums> parts(static_cast<size_t>((value.count + kPiece - 1) / kPiece));
      const bool bf16 = plan.unets[unet].activations == DType::BF16;
      const std::byte *now = kept.data() + value.now, *before = kept.data() + value.before;
      inPieces(pool, value.count, [&](uint64_t begin, uint64_t end) {
        parts[static_cast<size_t>(begin / kPiece)] = bf16 ? sumsOf<Bf16>(now, before, begin, end) : sumsOf<float>(now, before, begin, end);
      });
      for (const Sums& part : parts) {
        sums.difference += part.difference;
        sums.size += part.size;
      }
    }
    const double change = renewed_[unet][number] && sums.size > 0 ? sums.difference / sums.size : std::numeric_limits<double>::infinity();
    changes->push_back(std::isfinite(change) ? change : std::numeric_limits<double>::infinity());
  }
  return ended(cancel);
}

}  // namespace asdm

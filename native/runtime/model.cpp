#include "runtime/model.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <new>
#include <stdexcept>
#include <system_error>

#include "cpu/registry.h"
#include "graph/formats.h"
#include "graph/run_plan.h"
#include "ops/macs.h"
#include "runtime/program_runner.h"
#include "runtime/requests.h"
#include "runtime/run.h"
#include "weights/load.h"

namespace asdm {

namespace {

// No exception crosses the border of a Model.
template <class Body>
Status guarded(const char* what, const Body& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return {Code::OutOfMemory, std::string("Expected memory for ") + what + ", but the system gave none"};
  } catch (const std::length_error&) {
    return {Code::OutOfMemory, std::string("Expected memory for ") + what + ", but it is more than can be addressed"};
  } catch (const std::system_error& error) {
    return {Code::OutOfMemory, std::string("Expected threads for ") + what + ", but the system gave none: " + error.what()};
  } catch (const std::exception& error) {
    return {Code::Internal, std::string("Expected ") + what + " to work but received: " + error.what()};
  }
}

}  // namespace

struct Model::Impl {
  Impl(const ModelSpec& s, Graph g, const KernelTable& t, std::shared_ptr<WorkerThreads> workers)
      : spec(s), graph(std::move(g)), table(t), cpu(t.name), pool(std::move(workers)), runner(spec, graph, table, store, pool) {}

  const ModelSpec spec;
  const Graph graph;
  const KernelTable& table;
  const std::string cpu;
  ThreadPool pool;
  std::mutex running;  // load, forward and trim exclude each other
  WeightStore store;
  ProgramRunner runner;
  bool loaded = false;
  std::mutex sharedMutex;  // guards `shared`
  std::shared_ptr<const WeightStore> shared;  // a copy of the store while it is loaded, for other models
  std::mutex runsMutex;  // guards the map
  std::map<uint64_t, RunPart> runs;
  uint64_t nextRun = 1;

  void forget() {
    loaded = false;
    {
      const std::lock_guard<std::mutex> lock(sharedMutex);
      shared.reset();
    }
    store.release();
  }

  void remember() {
    auto copy = std::make_shared<const WeightStore>(store);
    const std::lock_guard<std::mutex> lock(sharedMutex);
    shared = std::move(copy);
    loaded = true;
  }

  // What stands before both parts of a step: is it its turn, and are the inputs of its size?
  Status beginStep(const RunPart& part, size_t step, bool probe, const ForwardInputs& inputs) {
    if (!loaded) return {Code::InvalidArgument, "Expected weights to be loaded before a forward pass but this model has none"};
    Run& run = *part.run;
    ASDM_TRY(run.checkTurn(step, part.unet, probe));
    if (!inputs.taps.empty()) return {Code::InvalidArgument, "Expected no taps in a run but received " + std::to_string(inputs.taps.size())};
    ForwardShape shape;
    ASDM_TRY(checkInputs(spec, inputs, &shape));
    ASDM_TRY(run.checkSize(step, shape));
    return run.reserve(store.bytes());
  }

  // A pass is at one time step, its first sample's: inputs were checked to have one.
  static double timeOf(const ForwardInputs& inputs) { return static_cast<double>(inputs.timesteps[0]); }

  // Inputs were checked to have it.
  static const std::vector<float>& textOf(const ForwardInputs& inputs) { return inputs.conditions.at("encoder_hidden_states").data; }

  // Computes the constants of the run's text, unless they are there. calls: for a profile.
  Status prepareConstants(const RunPart& part, size_t step, const ForwardInputs& inputs, const std::atomic<bool>& cancel, std::vector<CallRow>* calls) {
    Run& run = *part.run;
    const RequestConstants& constants = run.plan.unets[part.unet].constants;
    const bool half = run.isHalf(step);
    ConstantState& state = run.constants[part.unet];
    if (!constants.any() || state.hold(textOf(inputs), half)) return Status::good();
    std::vector<HostTensor> none;
    ASDM_TRY(runner.run(half ? constants.computeHalf : constants.computeWhole, inputs, run.kept.data(), cancel, &none, calls));
    state.set(textOf(inputs), half);
    return Status::good();
  }

  Status probeRun(const RunPart& part, size_t step, const std::vector<size_t>& renew, const ForwardInputs& inputs, const std::atomic<bool>& cancel,
                  std::vector<double>* changes) {
    Run& run = *part.run;
    const std::lock_guard<std::mutex> lock(run.mutex);
    ASDM_TRY(beginStep(part, step, true, inputs));
    ASDM_TRY(run.checkProbes(part.unet, renew));
    run.broken = true;  // until the pass has ended
    ASDM_TRY(run.renew(part.unet, renew, pool, cancel));
    const PlannedPass& pass = run.plan.steps[step].probe;
    std::vector<HostTensor> none;
    std::vector<CallRow> calls;
    ASDM_TRY(prepareConstants(part, step, inputs, cancel, &calls));
    ASDM_TRY(runner.run(run.plan.programs[pass.program], inputs, run.kept.data(), cancel, &none, &calls));
    ASDM_TRY(run.finish(pass, step, timeOf(inputs), pool, cancel));
    ASDM_TRY(run.changes(part.unet, pool, cancel, changes));
    run.broken = false;
    run.probed = true;
    return Status::good();
  }

  Status forwardRun(const RunPart& part, size_t step, size_t chosen, const ForwardInputs& inputs, const std::atomic<bool>& cancel, ForwardOutputs* out) {
    Run& run = *part.run;
    const std::lock_guard<std::mutex> lock(run.mutex);
    ASDM_TRY(beginStep(part, step, false, inputs));
    const std::vector<PlannedPass>& variants = run.plan.steps[step].variants;
    if (chosen >= variants.size())
      return {Code::InvalidArgument, "Expected a choice from 0 to " + std::to_string(variants.size() - 1) + " at step " + std::to_string(step) +
                                         " but received " + std::to_string(chosen)};
    run.broken = true;  // until the pass has ended
    std::vector<HostTensor> results;
    ForwardOutputs made;
    std::vector<CallRow> before;
    ASDM_TRY(prepareConstants(part, step, inputs, cancel, &before));
    ASDM_TRY(run.prepare(variants[chosen], step, timeOf(inputs), pool, cancel));
    ASDM_TRY(runner.run(run.plan.programs[variants[chosen].program], inputs, run.kept.data(), cancel, &results, &made.calls));
    made.calls.insert(made.calls.begin(), before.begin(), before.end());
    ASDM_TRY(run.finish(variants[chosen], step, timeOf(inputs), pool, cancel));
    run.broken = false;
    run.probed = false;
    run.next++;
    made.sample = std::move(results[0]);
    *out = std::move(made);
    return Status::good();
  }

  Status partOf(uint64_t id, RunPart* part) {
    const std::lock_guard<std::mutex> lock(runsMutex);
    const auto found = runs.find(id);
    if (found == runs.end()) return {Code::Disposed, "Expected a live run but it was disposed"};
    *part = found->second;
    return Status::good();
  }

  Status forward(const ForwardInputs& inputs, const std::atomic<bool>& cancel, ForwardOutputs* out) {
    if (!loaded) return {Code::InvalidArgument, "Expected weights to be loaded before a forward pass but this model has none"};
    ForwardShape shape;
    ASDM_TRY(checkInputs(spec, inputs, &shape));
    std::vector<UnitId> wanted{graph.outputs[static_cast<size_t>(inputs.clipSkip)]};
    ASDM_TRY(findTaps(graph, inputs.taps, &wanted));
    const Program* program = nullptr;
    ASDM_TRY(runner.programFor(shape, wanted, &program));
    std::vector<HostTensor> results;
    ForwardOutputs made;
    ASDM_TRY(runner.run(*program, inputs, nullptr, cancel, &results, &made.calls));

    for (size_t t = 0; t < inputs.taps.size(); t++) {
      const auto at = std::find_if(program->outputs.begin(), program->outputs.end(),
                                   [&](const ProgramOutput& o) { return o.unit == wanted[t + 1]; });
      made.taps[inputs.taps[t]] = results[static_cast<size_t>(at - program->outputs.begin())];
    }
    made.sample = std::move(results[0]);
    *out = std::move(made);
    return Status::good();
  }
};

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;

Status Model::create(const ModelSpec& spec, const ModelOptions& options, std::shared_ptr<WorkerThreads> workers, std::unique_ptr<Model>* out) {
  return guarded("a model", [&]() -> Status {
    if (options.dtype != DType::F32 && options.dtype != DType::BF16 && options.dtype != DType::I8)
      return {Code::InvalidArgument, std::string("Expected dtype to be fp32, bf16 or int8 but received ") + dtypeName(options.dtype)};
    const KernelTable* table = nullptr;
    ASDM_TRY(cpu::kernels(options.cpu, options.dtype, &table));
    Graph graph;
    ASDM_TRY(buildGraph(spec, &graph));
    if (options.dtype == DType::I8) quantizeWeights(&graph, options.exact);
    if (options.dtype != DType::F32) widenWeights(&graph, options.wide);
    out->reset(new Model(std::make_unique<Impl>(spec, std::move(graph), *table, std::move(workers))));
    return Status::good();
  });
}

const std::string& Model::cpu() const { return impl_->cpu; }

std::vector<WeightRequest> Model::weights() const {
  std::vector<WeightRequest> list;
  for (const WeightRef& w : impl_->graph.weights)
    for (const WeightPart& part : w.parts) list.push_back({part.name, part.shape});
  return list;
}

std::vector<std::string> Model::tapNames() const {
  std::vector<std::string> names;
  for (const auto& tap : impl_->graph.taps) names.push_back(tap.first);
  return names;
}

const Graph& Model::graph() const { return impl_->graph; }

Status Model::describe(const ForwardShape& shape, const std::vector<std::string>& taps, ProgramInfo* out) const {
  return guarded("a program", [&]() -> Status {
    const Graph& graph = impl_->graph;
    std::vector<UnitId> wanted{graph.outputs[0]};
    ASDM_TRY(findTaps(graph, taps, &wanted));
    Program program;
    ASDM_TRY(impl_->runner.compileFor(shape, wanted, &program));
    ProgramInfo info;
    for (UnitId id : program.units) {
      const Shape& s = program.shapes[static_cast<size_t>(id)];
      UnitRow row{graph[id].name, opInfo(graph[id].op).name, {s.dims.begin(), s.dims.begin() + s.rank}, graph.parameters(id),
                  unitMacs(graph, id, program.shapes)};
      info.parameters += row.parameters;
      info.macs = row.macs > UINT64_MAX - info.macs ? UINT64_MAX : info.macs + row.macs;
      info.units.push_back(std::move(row));
    }
    info.arenaBytes = program.arenaBytes;
    info.scratchBytes = program.scratchBytes;
    *out = std::move(info);
    return Status::good();
  });
}

Status Model::load(const std::vector<WeightSource>& sources, const std::string& cache, const std::atomic<bool>& cancel, const Progress& progress,
                   LoadResult* out) {
  return guarded("weights", [&]() -> Status {
    const std::lock_guard<std::mutex> lock(impl_->running);
    impl_->forget();
    struct Scope {  // after any failure, thrown ones too, the model holds no weights
      Impl& impl;
      ~Scope() {
        if (!impl.loaded) impl.store.release();
      }
    } scope{*impl_};
    ASDM_TRY(loadWeights(impl_->graph, impl_->table, sources, impl_->pool, cancel, cache, progress, &impl_->store, out));
    impl_->remember();
    return Status::good();
  });
}

std::shared_ptr<const WeightStore> Model::loadedWeights() const {
  const std::lock_guard<std::mutex> lock(impl_->sharedMutex);
  return impl_->shared;
}

Status Model::share(const WeightStore& weights) {
  return guarded("weights", [&]() -> Status {
    const std::lock_guard<std::mutex> lock(impl_->running);
    impl_->forget();
    ASDM_TRY(impl_->store.share(impl_->graph, impl_->table, weights));
    impl_->remember();
    return Status::good();
  });
}

void Model::unload(const std::weak_ptr<const WeightStore>& weights) noexcept {
  const std::lock_guard<std::mutex> lock(impl_->running);
  const std::shared_ptr<const WeightStore> own = weights.lock();
  if (own != nullptr && own == loadedWeights()) impl_->forget();
}

Status Model::forward(const ForwardInputs& inputs, const std::atomic<bool>& cancel, ForwardOutputs* out) {
  return guarded("a forward pass", [&]() -> Status {
    const std::lock_guard<std::mutex> lock(impl_->running);
    return impl_->forward(inputs, cancel, out);
  });
}

Status Model::createRun(const std::vector<Model*>& models, const ForwardShape& shape, const RunSpec& spec, std::vector<uint64_t>* ids,
                        RunInfo* info) {
  return guarded("a run", [&]() -> Status {
    std::vector<RunModel> parts;
    for (const Model* model : models) parts.push_back({&model->impl_->spec, &model->impl_->graph, &model->impl_->table, model->impl_->pool.threads()});
    std::shared_ptr<Run> run;
    ASDM_TRY(Run::create(parts, shape, spec, &run, info));
    std::vector<uint64_t> made;
    for (size_t m = 0; m < models.size(); m++) {
      Impl& impl = *models[m]->impl_;
      const std::lock_guard<std::mutex> lock(impl.runsMutex);
      made.push_back(impl.nextRun);
      impl.runs.emplace(impl.nextRun++, RunPart{run, m});
    }
    *ids = std::move(made);
    return Status::good();
  });
}

Status Model::probeRun(uint64_t id, size_t step, const std::vector<size_t>& renew, const ForwardInputs& inputs, const std::atomic<bool>& cancel,
                       std::vector<double>* changes) {
  return guarded("a forward pass", [&]() -> Status {
    const std::lock_guard<std::mutex> lock(impl_->running);
    RunPart part;
    ASDM_TRY(impl_->partOf(id, &part));
    return impl_->probeRun(part, step, renew, inputs, cancel, changes);
  });
}

Status Model::forwardRun(uint64_t id, size_t step, size_t chosen, const ForwardInputs& inputs, const std::atomic<bool>& cancel, ForwardOutputs* out) {
  return guarded("a forward pass", [&]() -> Status {
    const std::lock_guard<std::mutex> lock(impl_->running);
    RunPart part;
    ASDM_TRY(impl_->partOf(id, &part));
    return impl_->forwardRun(part, step, chosen, inputs, cancel, out);
  });
}

void Model::disposeRun(uint64_t id) {
  const std::lock_guard<std::mutex> lock(impl_->runsMutex);
  impl_->runs.erase(id);
}

void Model::trim() {
  const std::lock_guard<std::mutex> lock(impl_->running);
  impl_->runner.trim();
}

}  // namespace asdm

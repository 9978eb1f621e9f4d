#include "runtime/model.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <stdexcept>
#include <system_error>

#include "graph/formats.h"
#include "graph/run_plan.h"
#include "graph/macs.h"
#include "runtime/program_runner.h"
#include "runtime/requests.h"
#include "runtime/run.h"
#include "weights/load.h"

namespace asdm {

namespace {

// Of an exception, which may be that there is no memory, not even for a sentence: then it is one that needs none.
Status failure(Code code, const char* before, const char* what, const char* after, const char* more = "") noexcept {
  Status status;
  status.code = code;
  try {
    status.message = std::string(before) + what + after + more;
  } catch (const std::exception&) {
    status.message = "Out of memory";
  }
  return status;
}

// No exception crosses the border of a Model.
template <class Body>
Status guarded(const char* what, const Body& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return failure(Code::OutOfMemory, "Expected memory for ", what, ", but the system gave none");
  } catch (const std::length_error&) {
    return failure(Code::OutOfMemory, "Expected memory for ", what, ", but it is more than can be addressed");
  } catch (const std::system_error& error) {
    return failure(Code::OutOfMemory, "Expected threads for ", what, ", but the system gave none: ", error.what());
  } catch (const std::exception& error) {
    return failure(Code::Internal, "Expected ", what, " to work but received: ", error.what());
  }
}

}  // namespace

struct Model::Impl {
  Impl(const ModelSpec& s, Graph g, const KernelTable& t, std::shared_ptr<Device> d, std::shared_ptr<WorkerThreads> workers)
      : spec(s),
        ownGraph(std::make_shared<const Graph>(std::move(g))),
        graph(*ownGraph),
        table(t),
        cpu(t.name),
        device(std::move(d)),
        pool(std::move(workers)),
        queue(openQueue(*device, pool)),
        store(device),
        runner(graph, table, store, *queue) {}

  const ModelSpec spec;
  const std::shared_ptr<const Graph> ownGraph;  // which runs share
  const Graph& graph;
  const KernelTable& table;
  const std::string cpu;
  const std::shared_ptr<Device> device;
  ThreadPool pool;
  const std::unique_ptr<Queue> queue;
  std::mutex running;  // load, forward and trim exclude each other
  WeightStore store;
  ProgramRunner runner;
  bool loaded = false;
  std::mutex sharedMutex;  // guards `shared`
  std::shared_ptr<const WeightStore> shared;  // a copy of the store while it is loaded, for other models

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

  // A step of a run, checked: is it its turn, and are the inputs of its size?
  struct RunPass {
    Run& run;
    size_t step, unet;
    double time;  // a pass is at one time step, its first sample's
    std::vector<const void*> inputs;
  };

  Status beginStep(const ForwardInputs& inputs, bool probe, RunPass* pass) {
    if (!loaded) return {Code::InvalidArgument, "Expected weights to be loaded before a forward pass but this model has none"};
    Run& run = pass->run;
    ASDM_TRY(run.checkTurn(pass->step, probe));
    if (!inputs.taps.empty())
      return {Code::InvalidArgument, "Expected no taps in a run but received " + std::to_string(inputs.taps.size())};
    ForwardShape shape;
    shape.batch = 0;
    ASDM_TRY(checkValues(graph, Given::PerStep, inputs.values, &shape));
    ASDM_TRY(run.checkSize(pass->step, shape));
    ASDM_TRY(run.inputsOf(pass->step, inputs.values, &pass->inputs));
    pass->time = static_cast<double>(*inputs.values.at("timesteps").as<float>());
    return run.reserve(store.bytes());
  }

  // Computes the constants of the run's text, unless they are there. calls: for a profile.
  Status prepareConstants(const RunPass& pass, const std::atomic<bool>& cancel, std::vector<CallRow>* calls) {
    const RequestConstants& constants = pass.run.plan.unets[pass.unet].constants;
    const bool half = pass.run.isHalf(pass.step);
    const Numbers text = pass.run.textOf(pass.step);
    ConstantState& state = pass.run.constants[pass.unet];
    if (!constants.any() || state.hold(text, half)) return Status::good();
    std::vector<HostTensor> none;
    ASDM_TRY(runner.run(half ? constants.computeHalf : constants.computeWhole, pass.inputs, pass.run.kept.data(), cancel, &none, calls));
    state.set(text, half);
    return Status::good();
  }

  Status probeRun(Run& run, size_t step, const std::vector<size_t>& renew, const ForwardInputs& inputs, const std::atomic<bool>& cancel,
                  std::vector<double>* changes) {
    const std::lock_guard<std::mutex> lock(run.mutex);
    RunPass pass{run, step, run.unetOf(step), 0, {}};
    ASDM_TRY(beginStep(inputs, true, &pass));
    ASDM_TRY(run.checkProbes(pass.unet, renew));
    run.broken = true;  // until the pass has ended
    ASDM_TRY(run.renew(pass.unet, renew, *queue, cancel));
    const PlannedPass& planned = run.plan.steps[step].probe;
    std::vector<HostTensor> none;
    ASDM_TRY(prepareConstants(pass, cancel, nullptr));
    ASDM_TRY(runner.run(run.plan.programs[planned.program], pass.inputs, run.kept.data(), cancel, &none, nullptr));
    ASDM_TRY(run.finish(planned, step, pass.time, *queue, cancel));
    ASDM_TRY(run.changes(pass.unet, *queue, cancel, changes));
    run.broken = false;
    run.probed = true;
    return Status::good();
  }

  Status forwardRun(Run& run, size_t step, size_t chosen, const ForwardInputs& inputs, const std::atomic<bool>& cancel,
                    ForwardOutputs* out) {
    const std::lock_guard<std::mutex> lock(run.mutex);
    RunPass pass{run, step, run.unetOf(step), 0, {}};
    ASDM_TRY(beginStep(inputs, false, &pass));
    const std::vector<PlannedPass>& variants = run.plan.steps[step].variants;
    if (chosen >= variants.size())
      return {Code::InvalidArgument, "Expected a choice from 0 to " + std::to_string(variants.size() - 1) + " at step " +
                                         std::to_string(step) + " but received " + std::to_string(chosen)};
    run.broken = true;  // until the pass has ended
    std::vector<HostTensor> results;
    ForwardOutputs made;
    std::vector<CallRow> before;
    ASDM_TRY(prepareConstants(pass, cancel, inputs.profile ? &before : nullptr));
    ASDM_TRY(run.prepare(variants[chosen], step, pass.time, *queue, cancel));
    ASDM_TRY(runner.run(run.plan.programs[variants[chosen].program], pass.inputs, run.kept.data(), cancel, &results,
                        inputs.profile ? &made.calls : nullptr));
    made.calls.insert(made.calls.begin(), before.begin(), before.end());
    ASDM_TRY(run.finish(variants[chosen], step, pass.time, *queue, cancel));
    run.broken = false;
    run.probed = false;
    run.next++;
    made.sample = std::move(results[0]);
    *out = std::move(made);
    return Status::good();
  }

  Status forward(const ForwardInputs& inputs, const std::atomic<bool>& cancel, ForwardOutputs* out) {
    if (!loaded) return {Code::InvalidArgument, "Expected weights to be loaded before a forward pass but this model has none"};
    ForwardShape shape;
    shape.batch = 0;
    ASDM_TRY(checkValues(graph, Given::All, inputs.values, &shape));
    if (spec.kind == ModelKind::TextEncoder) ASDM_TRY(checkIds(spec.textEncoder, inputs.values.at("ids")));
    if (inputs.clipSkip < 0 || static_cast<size_t>(inputs.clipSkip) >= graph.outputs.size())
      return {Code::InvalidArgument, "Expected clipSkip from 0 to " + std::to_string(graph.outputs.size() - 1) + " but received " +
                                         std::to_string(inputs.clipSkip)};
    std::vector<UnitId> wanted{graph.outputs[static_cast<size_t>(inputs.clipSkip)]};
    ASDM_TRY(findTaps(graph, inputs.taps, &wanted));
    const Program* program = nullptr;
    ASDM_TRY(runner.programFor(shape, wanted, &program));
    std::vector<HostTensor> results;
    ForwardOutputs made;
    ASDM_TRY(runner.run(*program, addresses(graph, inputs.values), nullptr, cancel, &results, inputs.profile ? &made.calls : nullptr));

    for (size_t t = 0; t < inputs.taps.size(); t++) {
      const auto at =
          std::find_if(program->outputs.begin(), program->outputs.end(), [&](const ProgramOutput& o) { return o.unit == wanted[t + 1]; });
      made.taps[inputs.taps[t]] = results[static_cast<size_t>(at - program->outputs.begin())];
    }
    made.sample = std::move(results[0]);
    *out = std::move(made);
    return Status::good();
  }
};

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;

Status Model::create(const ModelSpec& spec, const ModelOptions& options, std::shared_ptr<Device> device,
                     std::shared_ptr<WorkerThreads> workers, std::unique_ptr<Model>* out) {
  return guarded("a model", [&]() -> Status {
    if (options.dtype != DType::F32 && options.dtype != DType::BF16 && options.dtype != DType::I8)
      return {Code::InvalidArgument, std::string("Expected dtype to be fp32, bf16 or int8 but received ") + dtypeName(options.dtype)};
    const KernelTable* table = nullptr;
    ASDM_TRY(statusOf(device->kernels(options.cpu.c_str(), options.dtype, &table)));
    Graph graph;
    ASDM_TRY(buildGraph(spec, &graph));
    if (options.dtype == DType::I8) quantizeWeights(&graph, options.exact);
    if (options.dtype != DType::F32) widenWeights(&graph, options.wide);
    out->reset(new Model(std::make_unique<Impl>(spec, std::move(graph), *table, std::move(device), std::move(workers))));
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
      UnitRow row{graph[id].name,
                  opInfo(graph[id].op).name,
                  {s.dims.begin(), s.dims.begin() + s.rank},
                  graph.parameters(id),
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

Status Model::load(const std::vector<WeightSource>& sources, const std::string& cache, const std::atomic<bool>& cancel,
                   const LoadProgress& progress, LoadResult* out) {
  return guarded("weights", [&]() -> Status {
    const std::lock_guard<std::mutex> lock(impl_->running);
    impl_->forget();
    struct Scope {  // after any failure, thrown ones too, the model holds no weights
      Impl& impl;
      ~Scope() {
        if (!impl.loaded) impl.store.release();
      }
    } scope{*impl_};
    ASDM_TRY(loadWeights(impl_->graph, impl_->table, sources, impl_->pool, *impl_->queue, cancel, cache, progress, &impl_->store, out));
    impl_->remember();
    return Status::good();
  });
}

Status Model::change(const std::vector<WeightSource>& sources, const std::atomic<bool>& cancel, LoadResult* out) {
  return guarded("weights", [&]() -> Status {
    const std::lock_guard<std::mutex> lock(impl_->running);
    if (!impl_->loaded) return {Code::InvalidArgument, "Expected weights to be loaded before some are changed but this model has none"};
    if (!impl_->store.owned() || impl_->store.sharedBeyond(1))
      return {Code::InvalidArgument, "Expected a model with weights of its own to change but it shares them with another"};
    return changeWeights(impl_->graph, impl_->table, sources, impl_->pool, *impl_->queue, cancel, &impl_->store, out);
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

RunModel Model::runModel() const { return {impl_->device, impl_->ownGraph, &impl_->table, impl_->queue->threads()}; }

Status Model::probeRun(Run& run, size_t step, const std::vector<size_t>& renew, const ForwardInputs& inputs,
                       const std::atomic<bool>& cancel, std::vector<double>* changes) {
  return guarded("a forward pass", [&]() -> Status {
    const std::lock_guard<std::mutex> lock(impl_->running);
    return impl_->probeRun(run, step, renew, inputs, cancel, changes);
  });
}

Status Model::forwardRun(Run& run, size_t step, size_t chosen, const ForwardInputs& inputs, const std::atomic<bool>& cancel,
                         ForwardOutputs* out) {
  return guarded("a forward pass", [&]() -> Status {
    const std::lock_guard<std::mutex> lock(impl_->running);
    return impl_->forwardRun(run, step, chosen, inputs, cancel, out);
  });
}

void Model::trim() {
  const std::lock_guard<std::mutex> lock(impl_->running);
  impl_->runner.trim();
}

}  // namespace asdm

// A graph with its weights, threads and activation arena, free of JavaScript: what napi/ wraps and native tests drive.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/plain_vector.h"
#include "core/status.h"
#include "core/tensor.h"
#include "weights/sources.h"

namespace asdm {

struct UNetConfig;         // graph/configs.h: mirrors lib/native/configs.ts field by field
struct VAEConfig;
struct TextEncoderConfig;
struct Graph;              // graph/graph.h
struct ModelSpec;          // graph/configs.h: { kind, one of the configs }
class Device;              // backend/device.h
class WeightStore;         // weights/store.h
class WorkerThreads;       // core/worker_threads.h
struct Run;                // runtime/run.h
struct RunModel;
struct Inherit;            // graph/inherit.h
struct RunStep;            // graph/run_plan.h: what one pass of a run inherits
struct RunMap;             // graph/run_plan.h: features that one UNet takes over from another

struct ModelOptions {
  DType dtype = DType::F32;    // of activations and products: F32 or BF16; I8: BF16 with 8-bit weights
  // With I8, units that keep BF16 weights: as graph/formats.h names them.
  std::vector<std::string> exact;
  // With BF16 and I8, units whose weights and products are floats, named likewise; before `exact` and I8.
  std::vector<std::string> wide;
  std::string cpu = "auto";    // a kernel set's name
  std::string device = "auto";  // as Devices::find takes it
};

struct WeightRequest {
  std::string name;
  std::vector<int64_t> shape;  // PyTorch's
};

// A float tensor in PyTorch's layout.
struct HostTensor {
  std::vector<int64_t> shape;
  PlainVector<float> data;
};

// The same of floats or of I32, for an input of a graph.
struct HostInput {
  std::vector<int64_t> shape;
  DType dtype = DType::F32;
  PlainVector<std::byte> bytes;
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(bytes.data());
  }
};

using HostInputs = std::map<std::string, HostInput>;  // by the names of the graph's inputs

struct ForwardInputs {
  HostInputs values;                 // each input of the graph; in a run those that are not the same at every step
  int clipSkip = 0;                  // text_encoder
  std::vector<std::string> taps;
  bool profile = false;              // time each kernel call
};

// One kernel call of a pass, and how long it took.
struct CallRow {
  std::string name, op;              // the unit whose weights it uses
  std::string result;                // the unit whose value it gives: a later one where units were fused
  std::vector<int64_t> input, shape; // of the first value it reads (empty: one from outside) and the one it gives, as stored
  std::string dtype;                 // what its products are computed in: "fp32", "bf16", "int8"
  uint64_t macs = 0, weightBytes = 0, valueBytes = 0;  // graph/cost.h
  double seconds = 0;
};

struct ForwardOutputs {
  HostTensor sample;
  std::map<std::string, HostTensor> taps;
  std::vector<CallRow> calls;        // in order, where a profile was asked for
};

struct ForwardShape {
  int64_t batch = 1, height = 0, width = 0, length = 0;
};

struct UnitRow {
  std::string name, op;
  std::vector<int64_t> shape;
  uint64_t parameters = 0, macs = 0;
};

struct ProgramInfo {
  std::vector<UnitRow> units;
  uint64_t parameters = 0, macs = 0, arenaBytes = 0, scratchBytes = 0;
};

// Passes of one or more UNets, in order; see graph/run_plan.h.
struct RunSpec {
  std::vector<RunStep> steps;
  std::vector<std::vector<Inherit>> probes;  // of each UNet; may be shorter than there are UNets
  std::vector<RunMap> maps;
  double extrapolate = 0;  // factor of the slope along which inherited features go on, feature_histories.h; 0: they stand still
  bool computeMissing = false;  // as in graph/run_plan.h
};

struct InheritedInfo {
  std::string name;     // of the unit that gives the value
  int source = 0;       // the step that computed it; where that depends on choices, the last that does in any case
  size_t unet = 0;      // that step's
};

struct RunPassInfo {
  size_t program = 0;           // passes with the same number run the same program
  uint64_t macs = 0, units = 0;
  std::vector<InheritedInfo> inherited;
};

struct RunStepInfo {
  size_t unet = 0;
  std::vector<RunPassInfo> variants;  // bit i of the index: whether choices[i] is inherited
  bool probed = false;                // begins with probes
  size_t probe = 0;                   // their program
};

// What a UNet computes once for all steps of a run, of the text alone. It counts in no pass.
struct ConstantInfo {
  uint64_t bytes = 0;     // held besides RunInfo::keptBytes
  uint64_t macs = 0;      // that the UNet's steps need; where the text changes they are computed again
  uint64_t fullMacs = 0;  // of the whole batch, once
};

struct RunInfo {
  std::vector<RunStepInfo> steps;
  std::vector<std::vector<std::string>> programs;  // of each program the units that run; probes' too
  std::vector<std::vector<std::string>> units;     // of each UNet those of a whole pass
  std::vector<uint64_t> fullMacs;                  // of each UNet those of a whole pass
  std::vector<ConstantInfo> constants;             // of each UNet
  uint64_t keptBytes = 0;
};

// May be called from any thread; forward and load are for one thread at a time (napi's queue sees to that).
class Model {
 public:
  // workers: the threads that it computes with, which it may share with other models.
  static Status create(const ModelSpec& spec, const ModelOptions& options, std::shared_ptr<Device> device,
                       std::shared_ptr<WorkerThreads> workers, std::unique_ptr<Model>* out);
  ~Model();

  const std::string& cpu() const;
  std::vector<WeightRequest> weights() const;
  std::vector<std::string> tapNames() const;
  const Graph& graph() const;  // fixed from the beginning on
  Status describe(const ForwardShape& shape, const std::vector<std::string>& taps, ProgramInfo* out) const;

  // Every requested weight exactly once. After a failure or abort the model holds no weights and may be loaded again.
  // cache: path of a packed cache to use or to write, or empty.
  Status load(const std::vector<WeightSource>& sources, const std::string& cache, const std::atomic<bool>& cancel,
              const LoadProgress& progress, LoadResult* out);
  // Reads some weights anew: WeightSource::products, a LoRA's, or those of the checkpoint again. After a failure or abort they are as before.
  // InvalidArgument where another model shares them.
  Status change(const std::vector<WeightSource>& sources, const std::atomic<bool>& cancel, LoadResult* out);
  // The weights for share() of another model, or null while there are none. They stay until the last model that shares them is gone.
  std::shared_ptr<const WeightStore> loadedWeights() const;
  // Holds no weights any more, if those that it holds are these.
  void unload(const std::weak_ptr<const WeightStore>& weights) noexcept;
  // Instead of load: takes the weights of a model that has all of this one's, in the same format for the same kernel set; InvalidArgument,
  // naming the weight, where it does not.
  Status share(const WeightStore& weights);
  // Fails with Aborted within tens of milliseconds after cancel turns true; the model stays usable.
  Status forward(const ForwardInputs& inputs, const std::atomic<bool>& cancel, ForwardOutputs* out);
  // What a run needs to know of this model, Run::create. It outlives the model.
  RunModel runModel() const;
  // The first part of a step with probes: computes them, and how each changed against what it was when last among `renew`, the sum of
  // absolute differences over the sum of absolute values; infinite where it never was. `renew` are numbers of probes whose values
  // of the UNet's last step are what is compared with from now on.
  Status probeRun(Run& run, size_t step, const std::vector<size_t>& renew, const ForwardInputs& inputs, const std::atomic<bool>& cancel,
                  std::vector<double>* changes);
  // Pass number `step` of a run, on the model whose UNet it names; steps come in order, each once, those with probes after them and with
  // the same inputs. Bit i of `chosen`: inherits choices[i]. A conditional-only step takes and gives half the batch. After a failure
  // or abort the run's features are unknown and its further passes fail with InvalidArgument.
  Status forwardRun(Run& run, size_t step, size_t chosen, const ForwardInputs& inputs, const std::atomic<bool>& cancel,
                    ForwardOutputs* out);
  // Frees the arena; the next forward allocates it again.
  void trim();

 private:
  struct Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace asdm

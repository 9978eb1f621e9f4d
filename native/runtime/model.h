// A graph with its weights, threads and activation arena, free of JavaScript: what napi/ wraps and native tests drive.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/status.h"
#include "core/tensor.h"

namespace asdm {

struct UNetConfig;         // graph/configs.h: mirrors lib/model/config.ts field by field
struct VAEConfig;
struct TextEncoderConfig;
struct Graph;              // graph/graph.h
struct ModelSpec;          // graph/configs.h: { kind, one of the configs }
struct RunStep;            // graph/run_plan.h: what one pass of a run inherits

struct ModelOptions {
  DType dtype = DType::F32;    // of activations and products: F32 or BF16; I8: BF16 with 8-bit weights
  // With I8, units that keep BF16 weights: as graph/formats.h names them.
  std::vector<std::string> exact;
  int threads = 1;             // 1..256
  std::string cpu = "auto";    // a kernel set's name
};

struct WeightRequest {
  std::string name;
  std::vector<int64_t> shape;  // PyTorch's
};

struct WeightSource {
  std::string name;
  std::string file;            // UTF-8
  DType dtype = DType::F32;    // F32, F16 or BF16
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes in the file
};

struct LoadResult {
  std::vector<std::string> nonFinite;
  uint64_t weightBytes = 0;
};

// A float tensor in PyTorch's layout.
struct HostTensor {
  std::vector<int64_t> shape;
  std::vector<float> data;
};

struct ForwardInputs {
  HostTensor sample;                 // unet, vae_decoder, vae_encoder
  std::vector<float> timesteps;      // unet
  HostTensor encoderHiddenStates;    // unet
  std::vector<int32_t> ids;          // text_encoder
  int64_t batch = 1;                 // text_encoder
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

struct RunStepInfo {
  size_t program = 0;           // steps with the same number run the same program
  uint64_t macs = 0, units = 0;
  std::vector<std::pair<std::string, int>> inherited;  // the unit that gives the value, and the step that computed it
};

struct RunInfo {
  std::vector<RunStepInfo> steps;
  uint64_t fullMacs = 0, keptBytes = 0;
};

// May be called from any thread; forward and load are for one thread at a time (napi's queue sees to that).
class Model {
 public:
  static Status create(const ModelSpec& spec, const ModelOptions& options, std::unique_ptr<Model>* out);
  ~Model();

  const std::string& cpu() const;
  std::vector<WeightRequest> weights() const;
  std::vector<std::string> tapNames() const;
  const Graph& graph() const;  // fixed from the beginning on
  Status describe(const ForwardShape& shape, const std::vector<std::string>& taps, ProgramInfo* out) const;

  // Every requested weight exactly once. After a failure or abort the model holds no weights and may be loaded again.
  using Progress = std::function<void(uint64_t done, uint64_t total)>;
  Status load(const std::vector<WeightSource>& sources, const std::atomic<bool>& cancel, const Progress& progress,
              LoadResult* out);
  // Fails with Aborted within tens of milliseconds after cancel turns true; the model works on afterwards.
  Status forward(const ForwardInputs& inputs, const std::atomic<bool>& cancel, ForwardOutputs* out);
  // Compiles forward passes that hand features on, UNets only; `id` names them below. Fails with InvalidArgument (naming prefix and
  // step), ShapeMismatch or OutOfMemory.
  Status createRun(const ForwardShape& shape, const std::vector<RunStep>& steps, uint64_t* id, RunInfo* info);
  // Pass number `step`; steps come in order, each once. A conditional-only step takes and gives half the batch. After a failure or
  // abort the run's features are unknown and its further passes fail with InvalidArgument.
  Status forwardRun(uint64_t id, size_t step, const ForwardInputs& inputs, const std::atomic<bool>& cancel, ForwardOutputs* out);
  // Frees the features once a pass under way is done; unknown ids are none of its business.
  void disposeRun(uint64_t id);
  // Frees the arena; the next forward allocates it again.
  void trim();

 private:
  struct Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace asdm

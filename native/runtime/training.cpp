#include "runtime/training.h"

#include <algorithm>
#include <cstring>

#include "core/memory.h"
#include "graph/builder.h"
#include "runtime/requests.h"
#include "weights/file.h"

namespace asdm {

namespace {

const char* const kAdapters = "adapters";

// Channels last, of a shape in PyTorch's order.
Shape inside(const std::vector<int64_t>& dims) {
  if (dims.size() == 4) return {dims[0], dims[2], dims[3], dims[1]};
  Shape shape;
  for (int64_t d : dims) shape[shape.rank++] = d;
  return shape;
}

std::vector<int64_t> outside(const Shape& s) {
  if (s.rank == 4) return {s[0], s[3], s[1], s[2]};
  return {s.dims.begin(), s.dims.begin() + s.rank};
}

const char* kindName(Trainer::Kind kind) {
  switch (kind) {
    case Trainer::Kind::Weight: break;
    case Trainer::Kind::Gradient: return "gradient";
    case Trainer::Kind::First: return "first moment";
    case Trainer::Kind::Second: return "second moment";
    case Trainer::Kind::Average: return "average";
  }
  return "weight";
}

}  // namespace

Status Training::create(const ModelSpec& spec, const TrainingOptions& options, std::shared_ptr<Device> device,
                        std::shared_ptr<WorkerThreads> workers, std::unique_ptr<Training>* out) {
  if (spec.kind != ModelKind::UNet) return {Code::UnsupportedConfig, "Expected a UNet to train but received another part of a model"};
  if (options.losses.empty()) return {Code::InvalidArgument, "Expected at least one loss to train by but received none"};
  std::unique_ptr<Training> made(new Training(spec.unet, std::move(device), std::move(workers)));
  ASDM_TRY(statusOf(made->device_->kernels(options.cpu.c_str(), DType::F32, &made->table_)));
  made->cpu_ = made->table_->name;
  ASDM_TRY(buildGraph(spec, &made->plain_));
  Graph& graph = made->plain_;
  GraphBuilder builder(graph);
  std::vector<LossTerm> terms;
  TrainerOptions trainer;
  trainer.trained = options.trained;
  trainer.average = options.average;
  if (options.textGradient) trainer.inputs = {graph.inputs[2]};
  bool adapters = false;
  for (const TrainingLoss& loss : options.losses) {
    if (std::any_of(terms.begin(), terms.end(), [&](const LossTerm& term) { return term.name == loss.name; }))
      return {Code::InvalidArgument, "Expected losses of different names but received \"" + loss.name.substr(0, 120) + "\" twice"};
    UnitId unit = graph.outputs[0];
    if (!loss.unit.empty()) {
      std::vector<UnitId> found;
      ASDM_TRY(findTaps(graph, {loss.unit}, &found));
      unit = found[0];
    }
    if (loss.adapterOut > 0) {
      adapters = true;
      unit = builder.linear(std::string(kAdapters) + "." + loss.name, unit, loss.adapterIn, loss.adapterOut);
    }
    terms.push_back({unit, loss.name, loss.loss});
    made->predictions_.push_back(unit);
  }
  if (adapters && !trainer.trained.empty()) trainer.trained.push_back(kAdapters);
  made->options_ = options;
  ASDM_TRY(made->trainer_.build(graph, *made->table_, terms, trainer));
  for (const WeightRef& weight : graph.weights) made->written_.emplace_back(weight.parts.size(), false);
  *out = std::move(made);
  return Status::good();
}

std::vector<TrainedWeight> Training::weights() const {
  std::vector<TrainedWeight> list;
  const std::string adapters = std::string(kAdapters) + ".";
  for (size_t id = 0; id < plain_.weights.size(); id++)
    for (const WeightPart& part : plain_.weights[id].parts)
      list.push_back({part.name, part.shape, part.rows, trainer_.trains(static_cast<WeightId>(id)),
                      part.name.compare(0, adapters.size(), adapters) == 0});
  return list;
}

Status Training::describe(const ForwardShape& shape, uint64_t* activations) const {
  CompileRequest forward;
  ASDM_TRY(graphInputs(plain_, shape, &forward.inputs));
  forward.threads = queue_->threads();
  for (UnitId id : predictions_)
    if (std::find(forward.outputs.begin(), forward.outputs.end(), id) == forward.outputs.end()) forward.outputs.push_back(id);
  Program program;
  ASDM_TRY(compile(plain_, *table_, forward, &program));
  std::vector<Shape> shapes = forward.inputs;
  for (UnitId id : predictions_) {
    shapes.push_back(program.shapes[static_cast<size_t>(id)]);
    shapes.push_back(Shape{shape.batch});
  }
  return trainer_.activationBytes(shapes, activations);
}

Status Training::allocate() {
  if (allocated_) return Status::good();
  ASDM_TRY(checkRoom(*device_, static_cast<double>(stateBytes()), "weights, gradients and moments"));
  ASDM_TRY(trainer_.allocate());
  allocated_ = true;
  return Status::good();
}

Status Training::find(Trainer::Kind kind, const std::string& name, Place* place) const {
  for (size_t id = 0; id < plain_.weights.size(); id++) {
    const std::vector<WeightPart>& parts = plain_.weights[id].parts;
    for (size_t part = 0; part < parts.size(); part++) {
      if (parts[part].name != name) continue;
      if (kind != Trainer::Kind::Weight && !trainer_.trains(static_cast<WeightId>(id)))
        return {Code::InvalidArgument,
                std::string("Expected a trained weight to have a ") + kindName(kind) + " but " + name + " is not trained"};
      if (kind == Trainer::Kind::Average && !options_.average)
        return {Code::InvalidArgument, "Expected a trainer that averages its weights to have an average of " + name + " but it does not"};
      *place = {static_cast<WeightId>(id), part};
      return Status::good();
    }
  }
  return {Code::TensorExtra, std::string("Expected a ") + kindName(kind) + " of this UNet but received " + name.substr(0, 160)};
}

Status Training::loadOne(Trainer::Kind kind, const WeightSource& source, const Place& place, const std::atomic<bool>& cancel,
                         bool* finite) {
  const WeightPart& part = partOf(place);
  const int64_t width = widthOf(place);
  const int64_t rowBytes = width * storedBytes(source.dtype);
  const uint64_t wanted = static_cast<uint64_t>(part.rows * rowBytes);
  if (source.begin > source.end || source.end - source.begin != wanted)
    return {Code::TensorShape, "Expected " + source.name + " of shape " + shapeText(part.shape) + " to take " + std::to_string(wanted) +
                                   " bytes but received bytes " + std::to_string(source.begin) + " to " + std::to_string(source.end) +
                                   " of \"" + source.file + "\""};
  File file;
  ASDM_TRY(file.open(source.file));
  constexpr int64_t kPiece = int64_t{1} << 22;
  const int64_t each = std::max<int64_t>(1, kPiece / rowBytes);
  std::vector<std::byte> staging(static_cast<size_t>(stagingBytes(source.dtype, std::min(each, part.rows) * width)));
  *finite = true;
  for (int64_t first = 0; first < part.rows; first += each) {
    if (cancel.load(std::memory_order_relaxed)) return {Code::Aborted, "The operation was aborted"};
    const int64_t rows = std::min(each, part.rows - first);
    std::byte* const stored = storedPlace(source.dtype, rows * width, staging.data());
    if (!file.read(source.begin + static_cast<uint64_t>(first * rowBytes), stored, static_cast<size_t>(rows * rowBytes)))
      return {Code::FileRead,
              "Expected to read " + source.name + " from \"" + source.file + "\" but the file is shorter or cannot be read"};
    if (isWidened(source.dtype)) widen(source.dtype, stored, rows * width, reinterpret_cast<float*>(staging.data()));
    *finite = trainer_.write(kind, place.id, place.part, first, rows, handedType(source.dtype), staging.data()) && *finite;
  }
  if (kind == Trainer::Kind::Weight) written_[static_cast<size_t>(place.id)][place.part] = true;
  return Status::good();
}

Status Training::load(Trainer::Kind kind, const std::vector<WeightSource>& sources, const std::atomic<bool>& cancel,
                      const std::function<void(uint64_t done, uint64_t total)>& progress, std::vector<std::string>* nonFinite) {
  ASDM_TRY(allocate());
  uint64_t total = 0, done = 0;
  std::vector<Place> places(sources.size());
  for (size_t i = 0; i < sources.size(); i++) {
    ASDM_TRY(find(kind, sources[i].name, &places[i]));
    if (sources[i].end >= sources[i].begin) total += sources[i].end - sources[i].begin;
  }
  for (size_t i = 0; i < sources.size(); i++) {
    bool finite = true;
    ASDM_TRY(loadOne(kind, sources[i], places[i], cancel, &finite));
    if (!finite) nonFinite->push_back(sources[i].name);
    done += sources[i].end - sources[i].begin;
    if (progress) progress(done, total);
  }
  return Status::good();
}

Status Training::write(Trainer::Kind kind, const std::string& name, const std::vector<float>& values) {
  ASDM_TRY(allocate());
  Place place;
  ASDM_TRY(find(kind, name, &place));
  const WeightPart& part = partOf(place);
  if (static_cast<int64_t>(values.size()) != part.rows * widthOf(place))
    return {Code::TensorShape,
            "Expected " + name + " of shape " + shapeText(part.shape) + " but received " + std::to_string(values.size()) + " numbers"};
  (void)trainer_.write(kind, place.id, place.part, 0, part.rows, DType::F32, values.data());
  if (kind == Trainer::Kind::Weight) written_[static_cast<size_t>(place.id)][place.part] = true;
  return Status::good();
}

Status Training::read(Trainer::Kind kind, const std::string& name, int64_t first, int64_t rows, std::vector<float>* values) {
  ASDM_TRY(allocate());
  Place place;
  ASDM_TRY(find(kind, name, &place));
  const WeightPart& part = partOf(place);
  if (first < 0 || rows < 1 || first > part.rows - rows)
    return {Code::InvalidArgument, "Expected rows of " + name + ", which has " + std::to_string(part.rows) + ", but received " +
                                       std::to_string(rows) + " from " + std::to_string(first) + " on"};
  values->resize(static_cast<size_t>(rows * widthOf(place)));
  return trainer_.read(kind, place.id, place.part, first, rows, values->data());
}

Status Training::begin(bool fresh, int64_t steps) {
  ASDM_TRY(allocate());
  if (fresh) ASDM_TRY(trainer_.reset());
  trainer_.setSteps(steps);
  return Status::good();
}

Status Training::given(const TrainingBatch& batch, std::vector<Trainer::Given>* list) const {
  for (size_t id = 0; id < written_.size(); id++)
    for (size_t part = 0; part < written_[id].size(); part++)
      if (!written_[id][part])
        return {Code::TensorMissing,
                "Expected all weights to be loaded before training but there is no " + plain_.weights[id].parts[part].name};
  ForwardShape shape;
  shape.batch = 0;
  ASDM_TRY(checkValues(plain_, Given::All, batch.values, &shape));
  std::vector<Shape> shapes;
  ASDM_TRY(graphInputs(plain_, shape, &shapes));
  for (size_t i = 0; i < shapes.size(); i++) list->push_back({batch.values.at(plain_[plain_.inputs[i]].name).bytes.data(), shapes[i]});
  const size_t count = options_.losses.size();
  if (batch.targets.size() != count || batch.weights.size() != count)
    return {Code::InvalidArgument, "Expected targets and weights of " + std::to_string(count) + " losses but received " +
                                       std::to_string(batch.targets.size()) + " and " + std::to_string(batch.weights.size())};
  for (size_t i = 0; i < count; i++) {
    const HostInput& target = batch.targets[i];
    const std::string& name = options_.losses[i].name;
    double numbers = 1;
    for (int64_t size : target.shape) numbers *= size < 1 ? 0 : static_cast<double>(size);
    const size_t numbersGiven = target.bytes.size() / sizeof(float);
    if (target.dtype != DType::F32 || target.shape.empty() || target.shape.size() > 4 || numbers < 1 ||
        numbers != static_cast<double>(numbersGiven))
      return {Code::ShapeMismatch, "Expected the target of the loss " + name +
                                       " to have 1 to 4 dimensions and as many numbers as they say but received " +
                                       std::to_string(numbersGiven) + " for " + shapeText(target.shape)};
    if (static_cast<int64_t>(batch.weights[i].size()) != shape.batch)
      return {Code::ShapeMismatch, "Expected a weight of the loss " + name + " for each of " + std::to_string(shape.batch) +
                                       " samples but received " + std::to_string(batch.weights[i].size())};
    list->push_back({target.bytes.data(), inside(target.shape)});
    list->push_back({batch.weights[i].data(), Shape{shape.batch}});
  }
  return Status::good();
}

Status Training::accumulate(const TrainingBatch& batch, bool backward, const std::atomic<bool>& cancel, TrainingResult* out) {
  std::vector<Trainer::Given> list;
  ASDM_TRY(given(batch, &list));
  TrainingResult result;
  if (!backward) {
    ASDM_TRY(trainer_.evaluate(list, cancel, &result.losses));
  } else {
    ASDM_TRY(trainer_.accumulate(list, cancel, &result.losses));
    if (options_.textGradient) {
      result.textGradient.data.assign(result.losses.back().begin(), result.losses.back().end());
      result.textGradient.shape = outside(list[2].shape);
      result.losses.pop_back();
    }
  }
  result.bytes = bytes();
  *out = std::move(result);
  return Status::good();
}

Status Training::firstNonFinite(const TrainingBatch& batch, const std::atomic<bool>& cancel, std::string* unit) {
  std::vector<Trainer::Given> list;
  ASDM_TRY(given(batch, &list));
  UnitId found = kNoUnit;
  ASDM_TRY(trainer_.firstNonFinite(list, cancel, &found));
  *unit = found == kNoUnit ? "" : plain_[found].name;
  return Status::good();
}

Status Training::update(const UpdateOptions& options, const std::atomic<bool>& cancel, double* norm) {
  ASDM_TRY(allocate());
  return trainer_.update(options, cancel, norm);
}

}  // namespace asdm

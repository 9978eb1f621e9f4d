#include "testing/graph_random.h"

#include <cmath>

namespace asdm::testing {

namespace {

// The standard fixes this generator's numbers, not those of its distributions.
struct Random {
  std::mt19937 engine;
  explicit Random(uint32_t seed) : engine(seed) {}
  int64_t below(int64_t n) { return static_cast<int64_t>(engine() % static_cast<uint32_t>(n)); }
  float number() { return static_cast<float>(engine() >> 8) * (2.0f / 16777216.0f) - 1.0f; }
};

struct Maker {
  RandomGraph& made;
  Random& random;
  GraphBuilder b;
  UnitId time = kNoUnit, text = kNoUnit;
  struct Map {
    UnitId id;
    int64_t channels;
    int level;  // how often halved
    UnitId size;
  };
  std::vector<Map> maps;
  int serial = 0;

  std::string name() { return "unit_" + std::to_string(serial++); }
  int64_t width() { return 4 * (1 + random.below(4)); }
  Map& any() { return maps[static_cast<size_t>(random.below(static_cast<int64_t>(maps.size())))]; }
  void push(UnitId id, const Map& like, int64_t channels) { maps.push_back({id, channels, like.level, like.size}); }
  // Mostly the newest value, so that graphs become deep; sometimes an old one, so that they branch.
  Map from() { return random.below(3) != 0 ? maps.back() : any(); }

  // Another map of the same size; with the same channels if asked for. Falls back to the map itself.
  Map partner(const Map& x, bool sameChannels) {
    for (int tries = 0; tries < 20; tries++) {
      const Map& other = any();
      if (other.level == x.level && (!sameChannels || other.channels == x.channels)) return other;
    }
    return x;
  }

  void transformer(const Map& x) {
    const TransformerShape shape{x.channels, 1 + random.below(2), 1, 2, 12, text, random.below(4) == 0, random.below(2) == 0, {}};
    push(buildTransformer(b, name(), x.id, shape), x, x.channels);
  }

  // A product whose result is activated and added to something, in either order of the operands.
  void chain(const Map& x) {
    const Map other = partner(x, false);
    const int64_t out = other.channels;
    UnitId h = random.below(2) ? b.conv1x1(name(), x.id, x.channels, out) : b.conv3x3(name(), x.id, x.channels, out);
    if (random.below(2)) h = b.activation(name(), h, random.below(2) ? Activation::Silu : Activation::Gelu);
    if (random.below(3)) h = random.below(2) ? b.add(name(), h, other.id) : b.add(name(), other.id, h);
    push(h, x, out);
  }

  // A product with gates, of whole panels or not.
  void gated(const Map& x) {
    const int64_t inner = random.below(3) ? 64 : width(), out = width();
    const UnitId h = b.geglu(name(), b.conv1x1(name(), x.id, x.channels, 2 * inner));
    push(b.conv1x1(name(), h, inner, out), x, out);
  }

  void step() {
    const Map x = from();
    switch (random.below(10)) {
      case 0: {
        const int64_t out = width();
        push(buildResnet(b, name(), x.id, {x.channels, out, 2, 1e-5, time, 16}), x, out);
        break;
      }
      case 1: push(b.groupNorm(name(), x.id, x.channels, 2, 1e-5, random.below(2) == 0), x, x.channels); break;
      case 2: push(b.activation(name(), x.id, Activation::Silu), x, x.channels); break;
      case 3: {
        const Map other = partner(x, true);
        push(b.add(name(), x.id, other.id), x, x.channels);
        break;
      }
      case 4: {
        const Map other = partner(x, false);
        if (x.channels + other.channels <= 32) push(b.concat(name(), x.id, other.id), x, x.channels + other.channels);
        break;
      }
      case 5: transformer(x); break;
      case 6: {
        const UnitId y = buildDownsampler(b, name(), x.id, x.channels, 1);
        if (x.level < 2) maps.push_back({y, x.channels, x.level + 1, y});
        break;
      }
      case 7: {  // back up to the size of something larger
        const Map& other = any();
        if (other.level == x.level - 1) push(buildUpsampler(b, name(), x.id, x.channels, other.id), other, x.channels);
        break;
      }
      case 8: gated(x); break;
      default: chain(x); break;
    }
  }
};

// Every fourth convolution of a chain, and first one of a ResNet, holds experts.
std::vector<ConditionalConv> conditionals() {
  std::vector<ConditionalConv> list;
  for (int i = 0; i < 160; i += 4) {
    const std::string name = "unit_" + std::to_string(i);
    list.push_back({name, 2 + i % 3, i % 8 == 0 ? "sigmoid" : "softmax"});
    list.push_back({name + ".conv1", 1 + i % 5, i % 8 == 0 ? "softmax" : "sigmoid"});
  }
  return list;
}

}  // namespace

RandomGraph randomGraph(uint32_t seed) {
  RandomGraph made;
  Random random(seed);
  const int64_t h = 3 + random.below(6), w = 3 + random.below(6);
  Maker maker{made, random, GraphBuilder(made.graph, conditionals()), kNoUnit, kNoUnit, {}, 0};
  GraphBuilder& b = maker.b;
  const UnitId sample = b.input("sample", {}), t = b.input("timesteps", {});
  maker.text = b.input("encoder_hidden_states", {});
  maker.time = b.activation("time.silu", b.linear("time.linear", b.timestep("time_proj", t, 8, true, 0), 8, 16), Activation::Silu);
  maker.maps.push_back({b.conv3x3("conv_in", sample, 4, 8), 8, 0, sample});
  const int64_t steps = 4 + random.below(24);
  for (int64_t i = 0; i < steps; i++) maker.step();
  b.output(b.conv3x3("conv_out", maker.maps.back().id, maker.maps.back().channels, 4));
  for (UnitId u = 0; u < made.graph.size(); u++)
    if (made.graph[u].op != Op::Input) made.graph.taps[made.graph[u].name] = u;
  made.inputs = {Shape{2, h, w, 4}, Shape{2}, Shape{2, 7, 12}};
  for (const Shape& shape : made.inputs) {
    std::vector<float> values(static_cast<size_t>(shape.count()));
    for (float& v : values) v = random.number();
    made.data.push_back(std::move(values));
  }
  return made;
}

Status fillWeights(const Graph& graph, const KernelTable& table, uint32_t seed, Queue& queue, WeightStore* store) {
  ASDM_TRY(store->arrange(graph, table));
  ASDM_TRY(store->allocate(queue, WeightStore::Gaps::Forbidden));
  Random random(seed ^ 0x9e3779b9u);
  std::vector<float> values;
  for (size_t w = 0; w < graph.weights.size(); w++) {
    const WeightRef& ref = graph.weights[w];
    for (size_t p = 0; p < ref.parts.size(); p++) {
      values.resize(static_cast<size_t>(ref.parts[p].rows * ref.rowWidth()));
      const float scale = ref.role == WeightRole::Matrix ? 1.5f / std::sqrt(static_cast<float>(ref.shape.k())) : 1.0f;
      for (float& v : values) v = scale * random.number();
      store->write(queue, graph, static_cast<WeightId>(w), p, 0, ref.parts[p].rows, DType::F32, values.data());
    }
  }
  return Status::good();
}

}  // namespace asdm::testing

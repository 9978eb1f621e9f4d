#include "graph/macs.h"

namespace asdm {

namespace {

uint64_t product(std::initializer_list<int64_t> factors) {
  uint64_t result = 1;
  for (int64_t f : factors) {
    const uint64_t factor = static_cast<uint64_t>(f);
    if (factor != 0 && result > UINT64_MAX / factor) return UINT64_MAX;
    result *= factor;
  }
  return result;
}

}  // namespace

uint64_t unitMacs(const Graph& graph, UnitId id, const std::vector<Shape>& shapes) {
  const Unit& u = graph[id];
  const Shape& y = shapes[static_cast<size_t>(id)];
  switch (opInfo(u.op).arithmetic) {
    case Arithmetic::Product: {
      const WeightShape& w = graph.weights[static_cast<size_t>(u.weights[0])].shape;
      return product({y.count(), w.k()});
    }
    case Arithmetic::Mixture: {  // the products, the mixing of each sample's kernel, and its router
      const WeightShape& w = graph.weights[static_cast<size_t>(u.weights[0])].shape;
      const int64_t samples = y[0], experts = u.attributes.experts;
      return product({y.count(), w.k()}) + product({samples, experts, w.n, w.k()}) + product({samples, experts, w.channels});
    }
    case Arithmetic::Attention: return product({2, y.count(), shapes[static_cast<size_t>(u.inputs[1])][1]});
    case Arithmetic::Gradient:
    case Arithmetic::Effect: return unitMacs(graph, u.attributes.of, shapes);
    case Arithmetic::None: break;
  }
  return 0;
}

}  // namespace asdm

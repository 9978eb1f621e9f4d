#include "cuda/kernels/norm.h"

#include "cuda/kernels/issue.h"

namespace asdm::cuda {

namespace {

// Rows of a chunk: some thousands of a group's numbers, but enough chunks for a card.
int64_t chunkRowsOf(const GroupNormArgs& a) {
  constexpr int64_t kNumbers = 4096;
  const int64_t width = a.c / a.groups, rows = kNumbers / width;
  return rows > 1 ? rows : 1;
}

template <class E>
GroupNormParams<E> paramsOf(const GroupNormArgs& a, Carver& scratch) {
  GroupNormParams<E> p{};
  p.x = static_cast<const E*>(a.x);
  p.xLow = static_cast<const E*>(a.xLow);
  p.n = a.n;
  p.rows = a.rows;
  p.c = a.c;
  p.groups = a.groups;
  p.eps = a.eps;
  p.gamma = a.gamma;
  p.beta = a.beta;
  p.silu = a.silu;
  p.y = static_cast<E*>(a.y);
  p.chunkRows = chunkRowsOf(a);
  p.chunks = ceilDiv(a.rows, p.chunkRows);
  p.moments = scratch.take<double>(a.n * p.chunks * a.groups * 3);
  p.scales = scratch.take<float>(a.n * a.groups * 3);
  p.whole = quadsFit<E>(a.x, a.c) && quadsFit<E>(a.xLow, a.c) && quadsFit<E>(a.y, a.c) && quadsFit<float>(a.gamma, 0) &&
            quadsFit<float>(a.beta, 0);
  return p;
}

}  // namespace

template <class E>
void Norms<E>::groupNorm(const GroupNormArgs& a, Issue& issue) {
  Carver scratch(issue.scratch);
  const GroupNormParams<E> p = paramsOf<E>(a, scratch);
  launch<GroupMoments<E>>(issue.stream, Grid{a.groups, p.chunks, a.n}, GroupMoments<E>::kSharedBytes, p);
  launch<GroupScales<E>>(issue.stream, Grid{ceilDiv(a.n * a.groups, GroupScales<E>::kThreads)}, 0, p);
  launch<GroupApply<E>>(issue.stream, Grid{ceilDiv(a.n * a.rows * ceilDiv(a.c, 4), GroupApply<E>::kThreads)}, 0, p);
}
template <class E>
size_t Norms<E>::groupNormScratch(const GroupNormArgs& a) {
  Carver scratch(nullptr);
  paramsOf<E>(a, scratch);
  return scratch.bytes();
}

template <class E>
void Norms<E>::layerNorm(const LayerNormArgs& a, Issue& issue) {
  LayerNormParams<E> p{};
  p.x = static_cast<const E*>(a.x);
  p.xLow = static_cast<const E*>(a.xLow);
  p.rows = a.rows;
  p.c = a.c;
  p.eps = a.eps;
  p.gamma = a.gamma;
  p.beta = a.beta;
  p.y = static_cast<E*>(a.y);
  p.whole = quadsFit<E>(a.x, a.c) && quadsFit<E>(a.xLow, a.c) && quadsFit<E>(a.y, a.c) && quadsFit<float>(a.gamma, 0) &&
            quadsFit<float>(a.beta, 0);
  launch<LayerNorm<E>>(issue.stream, Grid{ceilDiv(a.rows, LayerNorm<E>::kThreads / 32)}, 0, p);
}

template struct Norms<float>;
template struct Norms<Bf16>;

}  // namespace asdm::cuda

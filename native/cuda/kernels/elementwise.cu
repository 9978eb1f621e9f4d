#include "cuda/kernels/elementwise.h"

#include "cuda/kernels/issue.h"

namespace asdm::cuda {

namespace {

template <class Kernel, class Params>
void launchOver(int64_t threads, Issue& issue, const Params& p) {
  launch<Kernel>(issue.stream, Grid{ceilDiv(threads, kElementThreads)}, 0, p);
}

template <class From, class To>
void transpose(const LayoutArgs& a, int64_t rows, int64_t columns, Issue& issue) {
  using Kernel = Transpose<From, To>;
  const TransposeParams<From, To> p{static_cast<const From*>(a.x), static_cast<To*>(a.y), static_cast<To*>(a.yLow), rows, columns};
  const int64_t tiles = ceilDiv(rows, Kernel::kTile) * ceilDiv(columns, Kernel::kTile);
  launch<Kernel>(issue.stream, Grid{tiles, 1, a.n}, Kernel::kSharedBytes, p);
}

}  // namespace

template <class E>
void Elementwise<E>::geglu(const GegluArgs& a, Issue& issue) {
  const GegluParams<E> p{static_cast<const E*>(a.x), static_cast<E*>(a.y), a.rows, a.inner, quadsFit<E>(a.x, a.inner) && quadsFit<E>(a.y, a.inner)};
  launchOver<Geglu<E>>(a.rows * ceilDiv(a.inner, 4), issue, p);
}
template <class E>
void Elementwise<E>::activation(const ActivationArgs& a, Issue& issue) {
  const ActivationParams<E> p{static_cast<const E*>(a.x), static_cast<E*>(a.y), a.count, a.activation, quadsFit<E>(a.x, 0) && quadsFit<E>(a.y, 0)};
  launchOver<Activate<E>>(ceilDiv(a.count, 4), issue, p);
}
template <class E>
void Elementwise<E>::add(const AddArgs& a, Issue& issue) {
  AddParams<E> p{};
  p.a = static_cast<const E*>(a.a);
  p.b = static_cast<const E*>(a.b);
  p.aLow = static_cast<const E*>(a.aLow);
  p.bLow = static_cast<const E*>(a.bLow);
  p.y = static_cast<E*>(a.y);
  p.yLow = static_cast<E*>(a.yLow);
  p.count = a.count;
  p.whole = true;
  for (const void* each : {a.a, a.b, a.aLow, a.bLow, static_cast<const void*>(a.y), static_cast<const void*>(a.yLow)})
    p.whole = p.whole && quadsFit<E>(each, 0);
  launchOver<Add<E>>(ceilDiv(a.count, 4), issue, p);
}
template <class E>
void Elementwise<E>::concat(const ConcatArgs& a, Issue& issue) {
  ConcatParams<E> p{};
  p.a = static_cast<const E*>(a.a);
  p.b = static_cast<const E*>(a.b);
  p.aLow = static_cast<const E*>(a.aLow);
  p.bLow = static_cast<const E*>(a.bLow);
  p.y = static_cast<E*>(a.y);
  p.yLow = static_cast<E*>(a.yLow);
  p.rows = a.rows;
  p.ca = a.ca;
  p.cb = a.cb;
  p.whole = a.ca % 4 == 0 && a.cb % 4 == 0;
  for (const void* each : {a.a, a.b, a.aLow, a.bLow, static_cast<const void*>(a.y), static_cast<const void*>(a.yLow)})
    p.whole = p.whole && quadsFit<E>(each, 0);
  launchOver<Concat<E>>(a.rows * (ceilDiv(a.ca, 4) + ceilDiv(a.cb, 4)), issue, p);
}
template <class E>
void Elementwise<E>::embed(const EmbedArgs& a, Issue& issue) {
  const EmbedParams<E> p{a.ids, a.batch * a.length, a.length, a.width, static_cast<const E*>(a.token), static_cast<const E*>(a.position),
                         static_cast<E*>(a.y)};
  launchOver<Embed<E>>(p.rows * a.width, issue, p);
}
template <class E>
void Elementwise<E>::timestep(const TimestepArgs& a, Issue& issue) {
  const TimestepParams<E> p{a.t, a.n, a.dim, a.flip, a.freqShift, static_cast<E*>(a.y)};
  launchOver<Timestep<E>>(a.n * (a.dim / 2 + a.dim % 2), issue, p);
}
template <class E>
void Elementwise<E>::toChannelsLast(const LayoutArgs& a, Issue& issue) {
  transpose<float, E>(a, a.c, a.pixels, issue);
}
template <class E>
void Elementwise<E>::toChannelsFirst(const LayoutArgs& a, Issue& issue) {
  transpose<E, float>(a, a.pixels, a.c, issue);
}

template struct Elementwise<float>;
template struct Elementwise<Bf16>;

}  // namespace asdm::cuda

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
  const GegluParams<E> p{static_cast<const E*>(a.x), static_cast<E*>(a.y), a.rows, a.inner,
                         quadsFit<E>(a.x, a.inner) && quadsFit<E>(a.y, a.inner)};
  launchOver<Geglu<E>>(a.rows * ceilDiv(a.inner, 4), issue, p);
}
template <class E>
void Elementwise<E>::activation(const ActivationArgs& a, Issue& issue) {
  const ActivationParams<E> p{static_cast<const E*>(a.x), static_cast<E*>(a.y), a.count, a.activation,
                              quadsFit<E>(a.x, 0) && quadsFit<E>(a.y, 0)};
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
  const EmbedParams<E> p{a.ids,
                         a.batch * a.length,
                         a.length,
                         a.width,
                         static_cast<const E*>(a.token),
                         static_cast<const E*>(a.position),
                         static_cast<E*>(a.y)};
  launchOver<Embed<E>>(p.rows * a.width, issue, p);
}
template <class E>
void Elementwise<E>::timestep(const TimestepArgs& a, Issue& issue) {
  const TimestepParams<E> p{a.t, a.n, a.dim, a.flip, a.freqShift, static_cast<E*>(a.y)};
  launchOver<Timestep<E>>(a.n * (a.dim / 2 + a.dim % 2), issue, p);
}
template <class E>
void Elementwise<E>::line(const LineArgs& a, Issue& issue) {
  LineParams<E> p{};
  p.last = static_cast<const E*>(a.last);
  p.before = static_cast<const E*>(a.before);
  p.lastLow = static_cast<const E*>(a.lastLow);
  p.beforeLow = static_cast<const E*>(a.beforeLow);
  p.count = a.count;
  p.slope = a.slope;
  p.y = static_cast<E*>(a.y);
  p.yLow = static_cast<E*>(a.yLow);
  p.whole = true;
  for (const void* each : {a.last, a.before, a.lastLow, a.beforeLow, static_cast<const void*>(a.y), static_cast<const void*>(a.yLow)})
    p.whole = p.whole && quadsFit<E>(each, 0);
  launchOver<Line<E>>(ceilDiv(a.count, 4), issue, p);
}
template <class E>
void Elementwise<E>::change(const ChangeArgs& a, Issue& issue) {
  Carver scratch(issue.scratch);
  ChangeParams<E> p{};
  p.now = static_cast<const E*>(a.now);
  p.before = static_cast<const E*>(a.before);
  p.count = a.count;
  p.runs = ceilDiv(a.count, ChangeRuns<E>::kRun);
  p.partial = scratch.take<double>(p.runs * 2);
  p.sums = a.sums;
  launch<ChangeRuns<E>>(issue.stream, Grid{p.runs}, ChangeRuns<E>::kSharedBytes, p);
  launch<ChangeSums<E>>(issue.stream, Grid{1}, 0, p);
}
template <class E>
size_t Elementwise<E>::changeScratch(const ChangeArgs& a) {
  Carver scratch(nullptr);
  scratch.take<double>(ceilDiv(a.count, ChangeRuns<E>::kRun) * 2);
  return scratch.bytes();
}
template <class E>
void Elementwise<E>::toChannelsLast(const LayoutArgs& a, Issue& issue) {
  transpose<float, E>(a, a.c, a.pixels, issue);
}
template <class E>
void Elementwise<E>::toChannelsFirst(const LayoutArgs& a, Issue& issue) {
  transpose<E, float>(a, a.pixels, a.c, issue);
}

void copyBytes(const CopyArgs& a, Issue& issue) {
  const auto fits = [](const void* x) { return reinterpret_cast<uintptr_t>(x) % 16 == 0; };
  const CopyParams p{static_cast<const unsigned char*>(a.x), static_cast<unsigned char*>(a.y), a.bytes, fits(a.x) && fits(a.y)};
  launchOver<Copy>(ceilDiv(a.bytes, 16), issue, p);
}

template struct Elementwise<float>;
template struct Elementwise<Bf16>;

}  // namespace asdm::cuda

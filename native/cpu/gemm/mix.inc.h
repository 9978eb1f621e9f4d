// Mixing experts' packed panels for a product whose weights differ from group to group (gemm.h, Mixture). Packed blocks of one shape
// are laid out alike, so a mixture of matrices is one of their numbers, in whatever order these lie. Include after tile.inc.h.
#pragma once

namespace asdm::cpu::ASDM_SET {

// Rows that share one mixing of a panel, at most: then mixing K experts costs K / 560 of the multiplications beside it.
constexpr int64_t kMixTiles = (560 + kMr - 1) / kMr;

// to = sum of rate[e] * from[e], in ascending e and in float, rounded to E once; count is a multiple of kStep. The first product starts
// the sum, so that no zero is added to it. N: the number of experts where it is a usual one, or 0.
template <class E, int N>
void mixRun(const E* const* from, const float* rate, int64_t experts, int64_t count, E* to) {
  const int64_t all = N > 0 ? N : experts;
  for (int64_t i = 0; i < count; i += kNr) {
    vf sum[kNv];
    for (int v = 0; v < kNv; v++) sum[v] = vmul(vset(rate[0]), vload(from[0] + i + v * kVf));
    for (int64_t e = 1; e < all; e++)
      for (int v = 0; v < kNv; v++) sum[v] = vfma(vset(rate[e]), vload(from[e] + i + v * kVf), sum[v]);
    for (int v = 0; v < kNv; v++) vstore(to + i + v * kVf, sum[v]);
  }
}

template <class E>
void mixRuns(const E* const* from, const float* rate, int64_t experts, int64_t count, E* to) {
  switch (experts) {
    case 0:
      for (int64_t i = 0; i < count; i += kVf) vstore(to + i, vzero());
      return;
    case 2: return mixRun<E, 2>(from, rate, experts, count, to);
    case 3: return mixRun<E, 3>(from, rate, experts, count, to);
    case 4: return mixRun<E, 4>(from, rate, experts, count, to);
    default: return mixRun<E, 0>(from, rate, experts, count, to);
  }
}

// The mixtures of n groups: `count` elements from `offset` on in each expert, a multiple of kStep, to[i] those of groups[i].
template <class E>
void mixGroups(const Mixture& m, const int64_t* groups, int64_t n, int64_t offset, int64_t count, E* const* to) {
  // A piece of every expert stays in the first-level cache while all groups' mixtures are made of it.
  constexpr int64_t kPiece = 1024;
  static_assert(kPiece % kNr == 0, "pieces hold whole rows of a panel");
  for (int64_t from = 0; from < count; from += kPiece) {
    const int64_t length = kPiece < count - from ? kPiece : count - from;
    for (int64_t i = 0; i < n; i++) {
      const E* part[kMaxExperts];
      float rate[kMaxExperts];
      int64_t used = 0;
      for (int64_t e = 0; e < m.count; e++) {
        const float r = m.rates[groups[i] * m.count + e];
        if (r == 0.0f) continue;
        part[used] =
            reinterpret_cast<const E*>(static_cast<const std::byte*>(m.experts) + static_cast<size_t>(e) * m.distance) + offset + from;
        rate[used++] = r;
      }
      mixRuns<E>(part, rate, used, length, to[i] + from);
    }
  }
}

// Packed weights that will be read next: runs of memory, handed out in pieces to be fetched into the second-level cache while tiles are
// multiplied.
template <int Runs>
class FetchAhead {
 public:
  void begin() { runs_ = run_ = at_ = 0; }
  void add(const void* run) { from_[runs_++] = static_cast<const char*>(run); }
  // After add: each run has so many bytes and is fetched by so many at once; take() will be called at least so often.
  void spread(int64_t bytes, int64_t piece, int64_t calls) {
    bytes_ = bytes;
    piece_ = piece;
    perCall_ = smaller(kNext, ceilDiv(runs_ * ceilDiv(bytes, piece), calls));
  }
  bool left() const { return run_ < runs_; }
  void take(const void* nothing, const void* (&next)[kNext]) {
    for (int64_t i = 0; i < kNext; i++) {
      if (i >= perCall_ || !left()) {
        next[i] = nothing;
        continue;
      }
      next[i] = from_[run_] + at_;
      at_ += piece_;
      if (at_ < bytes_) continue;
      at_ = 0;
      run_++;
    }
  }

 private:
  const char* from_[Runs];
  int64_t runs_ = 0, run_ = 0, at_ = 0, bytes_ = 0, piece_ = 1, perCall_ = 0;
};

// Finds or makes the panel of each of the groups first..first+groups-1: `count` elements from `offset` on in each expert, a multiple of
// kStep. A group that takes one expert as it is reads that, one like an earlier group shares the other's. Group g has the buffer
// buffers + g * kKc * kStep.
template <class E>
void mixPanels(const Mixture& m, int64_t first, int64_t groups, int64_t offset, int64_t count, E* buffers, const E** panels) {
  int64_t mixed[kMixTiles], mixes = 0;
  E* to[kMixTiles];
  for (int64_t g = 0; g < groups; g++) {
    const int64_t group = first + g;
    panels[g] = nullptr;
    if (m.single[group] >= 0)
      panels[g] =
          reinterpret_cast<const E*>(static_cast<const std::byte*>(m.experts) + static_cast<size_t>(m.single[group]) * m.distance) + offset;
    for (int64_t other = 0; other < g && panels[g] == nullptr; other++)
      if (m.alike[first + other] == m.alike[group]) panels[g] = panels[other];
    if (panels[g] != nullptr) continue;
    panels[g] = to[mixes] = buffers + g * kKc * kStep;
    mixed[mixes++] = group;
  }
  if (mixes > 0) mixGroups<E>(m, mixed, mixes, offset, count, to);
}

}  // namespace asdm::cpu::ASDM_SET

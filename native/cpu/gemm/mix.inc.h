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

// Finds or makes the panel of each of the groups first..first+groups-1: `count` elements from `offset` on in each expert, a multiple of
// kStep. A group that takes one expert as it is reads that, one like an earlier group shares the other's. Group g has the buffer
// buffers + g * kKc * kStep.
template <class E>
void mixPanels(const Mixture& m, int64_t first, int64_t groups, int64_t offset, int64_t count, E* buffers, const E** panels) {
  // A piece of every expert stays in the first-level cache while all groups' mixtures are made of it.
  constexpr int64_t kPiece = 1024;
  static_assert(kPiece % kNr == 0, "pieces hold whole rows of a panel");
  const auto expert = [&](int64_t e) {
    return reinterpret_cast<const E*>(static_cast<const std::byte*>(m.experts) + static_cast<size_t>(e) * m.distance) + offset;
  };
  bool mixes[kMixTiles];
  for (int64_t g = 0; g < groups; g++) {
    const int64_t group = first + g;
    mixes[g] = false;
    panels[g] = nullptr;
    if (m.single[group] >= 0) panels[g] = expert(m.single[group]);
    for (int64_t other = 0; other < g && panels[g] == nullptr; other++)
      if (m.alike[first + other] == m.alike[group]) panels[g] = panels[other];
    if (panels[g] != nullptr) continue;
    panels[g] = buffers + g * kKc * kStep;
    mixes[g] = true;
  }
  for (int64_t from = 0; from < count; from += kPiece) {
    const int64_t length = kPiece < count - from ? kPiece : count - from;
    for (int64_t g = 0; g < groups; g++) {
      if (!mixes[g]) continue;
      const E* part[kMaxExperts];
      float rate[kMaxExperts];
      int64_t used = 0;
      for (int64_t e = 0; e < m.count; e++) {
        const float r = m.rates[(first + g) * m.count + e];
        if (r == 0.0f) continue;
        part[used] = expert(e) + from;
        rate[used++] = r;
      }
      mixRuns<E>(part, rate, used, length, buffers + g * kKc * kStep + from);
    }
  }
}

}  // namespace asdm::cpu::ASDM_SET

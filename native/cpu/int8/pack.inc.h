// Weights as 8-bit integers in the order that the tile kernel reads, for every set; int8.h describes the format. Include after
// tile.inc.h.
#pragma once

namespace asdm::cpu::ASDM_SET::int8 {

// Length of the k blocks (the last may be shorter): equal parts, at most kKc, whole cache lines.
ASDM_INLINE int64_t blockLength(int64_t k) {
  const int64_t parts = ceilDiv(k, kKc);
  return smaller(kKc, ceilDiv(ceilDiv(k, parts), 64) * 64);
}

ASDM_INLINE int64_t wholeSlots(int64_t k) { return ceilDiv(k, kSlot * kWhole) * kSlot * kWhole; }

// Where the scales lie, and after them the sums.
ASDM_INLINE int64_t scalesAt(const WeightShape& shape) {
  return ceilDiv(ceilDiv(shape.n, kNr) * kNr * wholeSlots(shape.k()), 64) * 64;
}

size_t packedBytes(const WeightShape& shape) noexcept {
  return static_cast<size_t>(scalesAt(shape) + ceilDiv(shape.n, kNr) * kNr * static_cast<int64_t>(sizeof(float) + sizeof(int32_t)));
}

// One output feature into its lane; source null: a lane beyond the last feature.
inline void packFeature(const PackArgs& p, int64_t feature, const float* source) {
  const int64_t k = p.shape.k(), area = p.shape.area, channels = p.shape.channels;
  const int64_t kc = blockLength(k), panels = ceilDiv(p.shape.n, kNr), panel = feature / kNr;
  auto* const packed = static_cast<int8_t*>(p.packed);
  float largest = 0.0f;
  bool finite = true;
  if (source != nullptr) {
    for (int64_t i = 0; i < k; i++) {
      const float size = std::fabs(source[i]);
      largest = size > largest ? size : largest;
      finite &= size <= std::numeric_limits<float>::max();
    }
  }
  // Below that, 1 / scale would not be finite; such weights are nothing.
  const bool some = finite && largest > 1e-30f;
  const float inverse = some ? 127.0f / largest : 0.0f;
  int32_t sum = 0;
  int64_t block = 0, inside = 0, length = smaller(kc, k);
  const auto panelOf = [&]() {
    return packed + block * kc * panels * kNr + panel * wholeSlots(length) * kNr + feature % kNr * kSlot;
  };
  int8_t* lane = panelOf();
  for (int64_t tap = 0; tap < area; tap++) {
    for (int64_t c = 0; c < channels; c++) {
      if (inside == length) {
        block++;
        inside = 0;
        length = smaller(kc, k - block * kc);
        lane = panelOf();
      }
      int32_t q = 0;
      if (some && source != nullptr) {
        // Adding 1.5 * 2^23 rounds to the nearest integer, ties to even.
        q = static_cast<int32_t>((source[c * area + tap] * inverse + 12582912.0f) - 12582912.0f);
      }
      sum += q;
      lane[inside / kSlot * (kNr * kSlot) + inside % kSlot] = static_cast<int8_t>(q);
      inside++;
    }
  }
  for (; inside % (kSlot * kWhole) != 0; inside++) lane[inside / kSlot * (kNr * kSlot) + inside % kSlot] = 0;
  auto* const scales = reinterpret_cast<float*>(packed + scalesAt(p.shape));
  scales[feature] = finite ? (some ? largest / 127.0f : 0.0f) : std::numeric_limits<float>::quiet_NaN();
  reinterpret_cast<int32_t*>(scales + panels * kNr)[feature] = sum;
}

void pack(const PackArgs& p) noexcept {
  const int64_t k = p.shape.k(), end = p.first + p.rows;
  for (int64_t feature = p.first; feature < end; feature++) packFeature(p, feature, p.source + (feature - p.first) * k);
  // Who brings the last feature also clears the lanes beyond it.
  if (end == p.shape.n)
    for (int64_t feature = end; feature % kNr != 0; feature++) packFeature(p, feature, nullptr);
}

}  // namespace asdm::cpu::ASDM_SET::int8

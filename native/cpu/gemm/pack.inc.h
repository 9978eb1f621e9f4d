// The packing of weights, for every set. Include after tile.inc.h and packed.inc.h.
#pragma once

#include "cpu/gemm/add_product.inc.h"
#include "cpu/vec/stored.inc.h"

namespace asdm::cpu::ASDM_SET {

static_assert(kPackRows % kNr == 0, "pieces end between panels");

template <class E>
size_t packedBytes(const WeightShape& shape) noexcept {
  return static_cast<size_t>(ceilDiv(shape.n, kNr) * kStep * stepsOf(shape)) * sizeof(E);
}

ASDM_INLINE void roundRun(const float* from, int64_t count, float* to) {
  std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
}
ASDM_INLINE void roundRun(const float* from, int64_t count, Bf16* to) {
  int64_t i = 0;
  for (; i + kVf <= count; i += kVf) vstore(to + i, vload(from + i));
  if (i < count) vstoren(to + i, vloadn(from + i, static_cast<int>(count - i)), static_cast<int>(count - i));
}

// Neighbouring input features that are packed at once, for one tap and for several. They lie side by side in the source with all their taps.
constexpr int64_t kPackTaps = 9;
constexpr int64_t kPackRun = 16;
constexpr int64_t kPackOne = 128;
constexpr int64_t kPackMost = kPackTaps * kPackRun > kPackOne ? kPackTaps* kPackRun : kPackOne;

// `lanes` output features from lane `lane` on, out of tile [steps][kStep], to steps `first` and following of a panel.
template <class E>
ASDM_INLINE void storeSteps(const WeightShape& shape, E* packed, int64_t panel, int64_t first, int64_t count, const E* tile, int64_t lane,
                            int64_t lanes) {
  const int64_t steps = stepsOf(shape), kc = blockLength(steps), panels = ceilDiv(shape.n, kNr);
  while (count > 0) {
    const int64_t block = first / kc, inside = first % kc, length = smaller(kc, steps - block * kc), some = smaller(count, length - inside);
    E* const to = packed + (block * kc * panels + panel * length + inside) * kStep;
    if (lanes == kNr) {
      std::memcpy(to, tile, static_cast<size_t>(some * kStep) * sizeof(E));
    } else {
      for (int64_t s = 0; s < some; s++)
        std::memcpy(to + s * kStep + lane * kGroup, tile + s * kStep + lane * kGroup, static_cast<size_t>(lanes * kGroup) * sizeof(E));
    }
    tile += some * kStep;
    first += some;
    count -= some;
  }
}

// A run of input features of one output feature, row [features][area], to its lane of a tile [area][steps][kStep].
template <class E>
ASDM_INLINE void spreadRun(const E* row, int64_t area, int64_t steps, E* to) {
  if (area == 1) {
    for (int64_t s = 0; s < steps; s++) std::memcpy(static_cast<void*>(to + s * kStep), row + s * kGroup, kGroup * sizeof(E));
    return;
  }
  for (int64_t tap = 0; tap < area; tap++)
    for (int64_t s = 0; s < steps; s++, to += kStep)
      for (int i = 0; i < kGroup; i++) to[i] = row[(s * kGroup + i) * area + tap];
}

// The slow way, number by number, for kernels of more taps, and where taps begin inside of steps.
template <class E>
bool packSlowly(const PackArgs& p) {
  const int64_t k = p.shape.k(), area = p.shape.area, channels = p.shape.channels, bytes = dtypeBytes(p.stored);
  const int64_t steps = stepsOf(p.shape), end = p.first + p.rows, lanesEnd = end == p.shape.n ? ceilDiv(end, kNr) * kNr : end;
  vf odd = vzero();
  for (int64_t o = p.first; o < lanesEnd; o++) {
    for (int64_t step = 0; step < steps; step++) {
      E tile[kStep];
      for (int64_t i = 0; i < kGroup; i++) {
        const int64_t at = step * kGroup + i, c = at % channels, tap = at / channels;
        float value = 0.0f;
        if (o < end && at < k)
          widen(p.stored, static_cast<const unsigned char*>(p.source) + ((o - p.first) * k + c * area + tap) * bytes, 1, &value, odd);
        roundRun(&value, 1, tile + o % kNr * kGroup + i);
      }
      storeSteps(p.shape, static_cast<E*>(p.packed), o / kNr, step, 1, tile, o % kNr, 1);
    }
  }
  return allFinite(odd);
}

template <class E>
bool pack(const PackArgs& p) noexcept {
  const int64_t k = p.shape.k(), area = p.shape.area, channels = p.shape.channels, bytes = dtypeBytes(p.stored);
  if (area > kPackTaps || (area > 1 && channels % kGroup != 0)) return packSlowly<E>(p);
  const int64_t run = area > 1 ? kPackRun : kPackOne, end = p.first + p.rows;
  const unsigned char* const source = static_cast<const unsigned char*>(p.source);
  vf odd = vzero();
  for (int64_t from = p.first; from < end;) {
    const int64_t panel = from / kNr, to = smaller(end, (panel + 1) * kNr);
    // Who brings the last feature also clears the lanes beyond it.
    const int64_t lane = from - panel * kNr, lanes = (to == p.shape.n ? (panel + 1) * kNr : to) - from;
    for (int64_t c0 = 0; c0 < channels; c0 += run) {
      const int64_t features = smaller(run, channels - c0), steps = ceilDiv(features, kGroup), count = features * area;
      float wide[kPackMost];
      E row[kPackMost + kGroup], tile[kPackMost / kGroup * kStep];
      for (int64_t i = 0; i < lanes; i++) {
        if (from + i < to) {
          widen(p.stored, source + ((from + i - p.first) * k + c0 * area) * bytes, count, wide, odd);
          roundRun(wide, count, row);
        } else {
          std::memset(static_cast<void*>(row), 0, sizeof row);
        }
        // A last step that is not full is filled up with zeros; there is one tap then.
        for (int64_t at = count; at < steps * kGroup * area; at++) std::memset(static_cast<void*>(row + at), 0, sizeof(E));
        spreadRun(row, area, steps, tile + (lane + i) * kGroup);
      }
      for (int64_t tap = 0; tap < area; tap++)
        storeSteps(p.shape, static_cast<E*>(p.packed), panel, (tap * channels + c0) / kGroup, steps, tile + tap * steps * kStep, lane,
                   lanes);
    }
    // Where steps come in groups, the last one is filled up.
    alignas(E) const unsigned char zeros[kWhole * kStep * sizeof(E)] = {};
    const int64_t written = ceilDiv(k, kGroup);
    storeSteps(p.shape, static_cast<E*>(p.packed), panel, written, stepsOf(p.shape) - written, reinterpret_cast<const E*>(zeros), lane,
               lanes);
    from = to;
  }
  return allFinite(odd);
}

ASDM_INLINE bool copyAll(const NumbersArgs& a) {
  constexpr int64_t kRun = 1024;
  float wide[kRun];
  vf odd = vzero();
  for (int64_t i = 0; i < a.count; i += kRun) {
    const int64_t count = smaller(kRun, a.count - i);
    widen(a.stored, static_cast<const unsigned char*>(a.from) + i * dtypeBytes(a.stored), count, wide, odd);
    if (a.kept == DType::BF16) roundRun(wide, count, static_cast<Bf16*>(a.to) + i);
    else roundRun(wide, count, static_cast<float*>(a.to) + i);
  }
  return allFinite(odd);
}

}  // namespace asdm::cpu::ASDM_SET

// Weights as 8-bit integers in the order that the tile kernel reads, for every set; int8.h describes the format. Include after
// tile.inc.h.
#pragma once

#include "cpu/vec/stored.inc.h"

namespace asdm::cpu::ASDM_SET::int8 {

static_assert(kPackRows % kNr == 0, "pieces end between panels");

// Length of the k blocks (the last may be shorter): equal parts, at most kKc, whole cache lines.
ASDM_INLINE int64_t blockLength(int64_t k) {
  const int64_t parts = ceilDiv(k, kKc);
  return smaller(kKc, ceilDiv(ceilDiv(k, parts), 64) * 64);
}

ASDM_INLINE int64_t wholeSlots(int64_t k) { return ceilDiv(k, kSlot * kWhole) * kSlot * kWhole; }

// Where the scales lie, and after them the sums.
ASDM_INLINE int64_t scalesAt(const WeightShape& shape) { return ceilDiv(ceilDiv(shape.n, kNr) * kNr * wholeSlots(shape.k()), 64) * 64; }

size_t packedBytes(const WeightShape& shape) noexcept {
  return static_cast<size_t>(scalesAt(shape) + ceilDiv(shape.n, kNr) * kNr * static_cast<int64_t>(sizeof(float) + sizeof(int32_t)));
}

// Input features that are packed at once, as in gemm/pack.inc.h; sixteen floats more are read and written in whole vectors.
constexpr int64_t kPackTaps = 9;
constexpr int64_t kPackRun = 16;
constexpr int64_t kPackOne = 128;
constexpr int64_t kPackMost = kPackTaps * kPackRun > kPackOne ? kPackTaps* kPackRun : kPackOne;

// What one output feature is multiplied by: inverse 0 where all its integers are 0.
struct Feature {
  float inverse, scale;
  int32_t sum;
};

inline Feature measure(DType stored, const unsigned char* row, int64_t k) {
  constexpr int64_t kRun = 256;
  float wide[kRun];
  vf odd = vzero(), largest = vzero();
  for (int64_t i = 0; i < k; i += kRun) {
    const int64_t count = smaller(kRun, k - i);
    widen(stored, row + i * dtypeBytes(stored), count, wide, odd);
    int64_t j = 0;
    for (; j + kVf <= count; j += kVf) largest = vmax(largest, vabs(vload(wide + j)));
    if (j < count) largest = vmax(largest, vabs(vloadn(wide + j, static_cast<int>(count - j))));
  }
  if (!allFinite(odd)) return {0.0f, std::numeric_limits<float>::quiet_NaN(), 0};
  const float most = vmaxlane(largest);
  // Below that, 1 / scale would not be finite; such weights are nothing.
  return most > 1e-30f ? Feature{127.0f / most, most / 127.0f, 0} : Feature{0.0f, 0.0f, 0};
}

// Numbers times feature.inverse, rounded to the nearest integers, ties to even; wide has room for whole vectors, and row too.
ASDM_INLINE void quantizeRun(float* wide, int64_t count, Feature& feature, uint8_t* row) {
  for (int64_t i = count; i % kVf != 0; i++) wide[i] = 0.0f;
  const vf inverse = vset(feature.inverse), middle = vset(128.0f);
  vf sum = vzero();
  for (int64_t i = 0; i < count; i += kVf) {
    const vf q = vround(vmul(vload(wide + i), inverse));
    sum = vadd(sum, q);
    storeBytes(row + i, vadd(q, middle));
  }
  // Bytes from 1 to 255 are those from -127 to 127 with their highest bit turned.
  for (int64_t i = 0; i < count; i++) row[i] ^= 0x80;
  feature.sum += static_cast<int32_t>(vsum(sum));  // exact: below 2^24
}

// `lanes` output features from lane `lane` on, out of tile [slots][kNr][kSlot], to input features `first` and following of a panel.
ASDM_INLINE void storeSlots(const WeightShape& shape, uint8_t* packed, int64_t panel, int64_t first, int64_t slots, const uint8_t* tile,
                            int64_t lane, int64_t lanes) {
  const int64_t k = shape.k(), kc = blockLength(k), panels = ceilDiv(shape.n, kNr);
  while (slots > 0) {
    const int64_t block = first / kc, inside = first % kc, length = smaller(kc, k - block * kc);
    const int64_t some = smaller(slots, (wholeSlots(length) - inside) / kSlot);
    uint8_t* const to = packed + block * kc * panels * kNr + panel * wholeSlots(length) * kNr + inside * kNr;
    if (lanes == kNr) {
      std::memcpy(to, tile, static_cast<size_t>(some * kNr * kSlot));
    } else {
      for (int64_t s = 0; s < some; s++)
        std::memcpy(to + (s * kNr + lane) * kSlot, tile + (s * kNr + lane) * kSlot, static_cast<size_t>(lanes * kSlot));
    }
    tile += some * kNr * kSlot;
    first += some * kSlot;
    slots -= some;
  }
}

// Some output features of one panel, from feature `from` on; those beyond the last are zeros.
inline void packPanel(const PackArgs& p, int64_t from, int64_t lanes, Feature* features) {
  const int64_t k = p.shape.k(), area = p.shape.area, channels = p.shape.channels, bytes = dtypeBytes(p.stored);
  const int64_t panel = from / kNr, lane = from % kNr;
  const unsigned char* const source = static_cast<const unsigned char*>(p.source) + (from - p.first) * k * bytes;
  // The slow way, slot by slot, for kernels of more taps, and where taps begin inside of slots.
  const bool slowly = area > kPackTaps || (area > 1 && channels % kSlot != 0);
  const int64_t run = slowly ? kSlot : area > 1 ? kPackRun : kPackOne, taps = slowly ? 1 : area, all = slowly ? k : channels;
  for (int64_t c0 = 0; c0 < all; c0 += run) {
    const int64_t count = smaller(run, all - c0), slots = ceilDiv(count, kSlot);
    float wide[kPackMost + kVf];
    uint8_t row[kPackMost + kVf], tile[(kPackMost + kSlot) * kNr];
    for (int64_t i = 0; i < lanes; i++) {
      if (features[i].inverse == 0.0f) {
        std::memset(row, 0, sizeof row);
      } else {
        vf odd = vzero();
        if (slowly) {
          for (int64_t j = 0; j < count; j++) {
            const int64_t at = (c0 + j) % channels * area + (c0 + j) / channels;
            widen(p.stored, source + (i * k + at) * bytes, 1, wide + j, odd);
          }
        } else {
          widen(p.stored, source + (i * k + c0 * area) * bytes, count * area, wide, odd);
        }
        quantizeRun(wide, count * taps, features[i], row);
        for (int64_t at = count * taps; at < slots * kSlot * taps; at++) row[at] = 0;
      }
      uint8_t* to = tile + (lane + i) * kSlot;
      if (taps == 1) {
        for (int64_t s = 0; s < slots; s++) std::memcpy(to + s * kNr * kSlot, row + s * kSlot, kSlot);
        continue;
      }
      for (int64_t tap = 0; tap < taps; tap++)
        for (int64_t s = 0; s < slots; s++, to += kNr * kSlot)
          for (int j = 0; j < kSlot; j++) to[j] = row[(s * kSlot + j) * taps + tap];
    }
    for (int64_t tap = 0; tap < taps; tap++)
      storeSlots(p.shape, static_cast<uint8_t*>(p.packed), panel, tap * channels + c0, slots, tile + tap * slots * kNr * kSlot, lane,
                 lanes);
  }
  // Where slots come in groups, the last one is filled up.
  const uint8_t zeros[kWhole * kSlot * kNr] = {};
  const int64_t kc = blockLength(k), written = ceilDiv(k, kSlot) * kSlot, whole = k / kc * kc + wholeSlots(k % kc);
  storeSlots(p.shape, static_cast<uint8_t*>(p.packed), panel, written, (whole - written) / kSlot, zeros, lane, lanes);
}

bool pack(const PackArgs& p) noexcept {
  const int64_t k = p.shape.k(), end = p.first + p.rows, panels = ceilDiv(p.shape.n, kNr);
  auto* const scales = reinterpret_cast<float*>(static_cast<int8_t*>(p.packed) + scalesAt(p.shape));
  auto* const sums = reinterpret_cast<int32_t*>(scales + panels * kNr);
  bool finite = true;
  for (int64_t from = p.first; from < end;) {
    const int64_t whole = (from / kNr + 1) * kNr, to = smaller(end, whole);
    // Who brings the last feature also clears the lanes beyond it.
    const int64_t lanes = (to == p.shape.n ? whole : to) - from;
    Feature features[kNr] = {};
    for (int64_t i = 0; i < to - from; i++) {
      features[i] = measure(p.stored, static_cast<const unsigned char*>(p.source) + (from + i - p.first) * k * dtypeBytes(p.stored), k);
      finite = finite && features[i].scale == features[i].scale;
    }
    packPanel(p, from, lanes, features);
    for (int64_t i = 0; i < lanes; i++) {
      scales[from + i] = features[i].scale;
      sums[from + i] = features[i].sum;
    }
    from = to;
  }
  return finite;
}

}  // namespace asdm::cpu::ASDM_SET::int8

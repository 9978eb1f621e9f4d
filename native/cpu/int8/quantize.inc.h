// Activations as bytes: bfloat16 rows -> u in 0..255, for every set. Include after a vocabulary, with the set's storeBytes() defined.
#pragma once

namespace asdm::cpu::ASDM_SET::int8 {

// x = scale * (u - zero); inverse = 1 / scale, or 0 where all u are to be 0.
struct Quant {
  float scale, inverse;
  int32_t zero;
};

// The least and the largest of some bfloat16 numbers, in an order of integers: as the bits, but negative numbers' lower bits turned.
struct Range {
  int16_t low, high;
};

ASDM_INLINE Range rangeOf(const uint16_t* x, int64_t count) {
  int16_t low = 0, high = 0;
  for (int64_t i = 0; i < count; i++) {
    const int16_t bits = static_cast<int16_t>(x[i]);
    const int16_t ordered = static_cast<int16_t>(bits ^ (static_cast<int16_t>(bits >> 15) & 0x7fff));
    low = ordered < low ? ordered : low;
    high = ordered > high ? ordered : high;
  }
  return {low, high};
}

ASDM_INLINE float rangeEnd(int16_t ordered) {
  const uint16_t bits = static_cast<uint16_t>(ordered ^ (static_cast<int16_t>(ordered >> 15) & 0x7fff));
  return toFloat(Bf16{bits});
}

inline Quant quantOf(Range range) {
  // Infinity is 0x7f80, minus infinity 0xff80, and NaNs lie beyond them.
  constexpr int16_t kInfinity = 0x7f80, kMinusInfinity = static_cast<int16_t>(0xff80 ^ 0x7fff);
  if (range.high >= kInfinity || range.low <= kMinusInfinity) return {std::numeric_limits<float>::quiet_NaN(), 0.0f, 0};
  const float low = rangeEnd(range.low), high = rangeEnd(range.high);
  const float scale = high * (1.0f / 255.0f) - low * (1.0f / 255.0f);  // each by itself: their difference may overflow
  if (!(scale > 1e-30f)) return {0.0f, 0.0f, 0};
  const float inverse = 1.0f / scale;
  const int32_t zero = static_cast<int32_t>(0.5f - low * inverse);
  return {scale, inverse, zero > 255 ? 255 : zero};
}

// u = x / scale + zero, rounded to nearest even, within 0..255.
inline void quantize(const uint16_t* x, int64_t count, const Quant& q, uint8_t* to) {
  if (q.inverse == 0.0f) {
    std::memset(to, 0, static_cast<size_t>(count));
    return;
  }
  const vf inverse = vset(q.inverse), zero = vset(static_cast<float>(q.zero));
  int64_t i = 0;
  for (; i + kVf <= count; i += kVf) storeBytes(to + i, vadd(vmul(vloadh(x + i), inverse), zero));
  if (i < count) {
    uint8_t bytes[kVf];
    storeBytes(bytes, vadd(vmul(vloadhn(x + i, static_cast<int>(count - i)), inverse), zero));
    std::memcpy(to + i, bytes, static_cast<size_t>(count - i));
  }
}

// Elements that one task quantises: some tens of microseconds.
constexpr int64_t kQuantizeRun = 65536;

// Quantises each row of x by itself, to dense rows of bytes.
inline void quantizeRows(const uint16_t* x, int64_t rows, int64_t width, int64_t ldx, uint8_t* to, Quant* quants, ThreadPool& pool) {
  const int64_t step = rowsOfTask(rows, width, kQuantizeRun, pool.threads());
  pool.run((rows + step - 1) / step, [&](int64_t task, int) {
    const int64_t end = smaller(rows, (task + 1) * step);
    for (int64_t row = task * step; row < end; row++) {
      const uint16_t* from = x + row * ldx;
      quants[row] = quantOf(rangeOf(from, width));
      quantize(from, width, quants[row], to + row * width);
    }
  });
}

// Quantises each sample of x [samples, count] by itself. ranges: room for samples * ceil(count / kQuantizeRun).
inline void quantizeSamples(const uint16_t* x, int64_t samples, int64_t count, uint8_t* to, Quant* quants, Range* ranges,
                            ThreadPool& pool) {
  const int64_t runs = ceilDiv(count, kQuantizeRun);
  pool.run(samples * runs, [&](int64_t task, int) {
    const int64_t first = task % runs * kQuantizeRun;
    ranges[task] = rangeOf(x + task / runs * count + first, smaller(kQuantizeRun, count - first));
  });
  for (int64_t s = 0; s < samples; s++) {
    Range all{0, 0};
    for (int64_t i = 0; i < runs; i++) {
      const Range part = ranges[s * runs + i];
      all.low = part.low < all.low ? part.low : all.low;
      all.high = part.high > all.high ? part.high : all.high;
    }
    quants[s] = quantOf(all);
  }
  pool.run(samples * runs, [&](int64_t task, int) {
    const int64_t at = task / runs * count + task % runs * kQuantizeRun;
    quantize(x + at, smaller(kQuantizeRun, count - task % runs * kQuantizeRun), quants[task / runs], to + at);
  });
}

}  // namespace asdm::cpu::ASDM_SET::int8

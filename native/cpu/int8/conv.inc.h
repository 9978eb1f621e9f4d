// Direct convolution of bytes, for every set: gathers neighbourhoods for product.inc.h. Include after it.
#pragma once

#include "cpu/conv/neighbourhoods.inc.h"

namespace asdm::cpu::ASDM_SET::int8 {

struct ConvSource {
  const ConvArgs* args;
  const uint8_t* image;  // [n, h, w, c], quantised
  const Quant* quants;   // [n]
};

// Writes the neighbourhoods of `rows` consecutive output pixels of one sample, elements first..first+count-1 in (kh, kw, c) order.
inline void copyNeighbourhoods(const void* source, int64_t row, int rows, int64_t first, int64_t count, Left* to) {
  const ConvSource& s = *static_cast<const ConvSource*>(source);
  const ConvArgs& a = *s.args;
  const uint8_t zero = static_cast<uint8_t>(s.quants[row / (a.outH * a.outW)].zero);
  walkNeighbourhoods(a, s.image, row, rows, first, count,
                     [&](int r, int64_t done, int64_t run, const uint8_t* from) { copyBytes(from, run, zero, to + r * kStride + done); });
}

inline Product productOf(const ConvArgs& a) {
  return {a.n, a.outH * a.outW, a.shape, a.weight, &copyNeighbourhoods, nullptr, nullptr, false, epilogueOf<Bf16>(a)};
}

inline Parts partsOf(const ConvArgs& a, int threads) {
  const int64_t count = a.h * a.w * a.shape.channels;
  return partsOf(productOf(a), threads, a.n * count, a.n, a.n * ceilDiv(count, kQuantizeRun));
}

size_t convScratch(const ConvArgs& a, int threads) noexcept { return static_cast<size_t>(partsOf(a, threads).all); }

void conv(const ConvArgs& a, KernelContext& context) noexcept {
  Product p = productOf(a);
  const Parts parts = partsOf(a, context.pool.threads());
  auto* const bytes = reinterpret_cast<uint8_t*>(context.scratch + parts.bytes);
  auto* const quants = reinterpret_cast<Quant*>(context.scratch + parts.quants);
  quantizeSamples(static_cast<const uint16_t*>(a.x), a.n, a.h * a.w * a.shape.channels, bytes, quants,
                  reinterpret_cast<Range*>(context.scratch + parts.ranges), context.pool);
  const ConvSource source{&a, bytes, quants};
  p.source = &source;
  p.quants = quants;
  product(p, context.scratch, context.pool);
}

}  // namespace asdm::cpu::ASDM_SET::int8

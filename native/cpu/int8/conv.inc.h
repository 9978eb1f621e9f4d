// Direct convolution of bytes, for every set: gathers neighbourhoods for product.inc.h. Include after it.
#pragma once

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
  const int64_t c = a.shape.channels;
  const bool resized = a.resizeH > 0;
  const int64_t height = resized ? a.resizeH : a.h, width = resized ? a.resizeW : a.w;
  const int64_t sample = row / (a.outH * a.outW);
  const uint8_t* const image = s.image + sample * a.h * a.w * c;
  const uint8_t zero = static_cast<uint8_t>(s.quants[sample].zero);
  const int64_t pixel = row - sample * a.outH * a.outW;
  int64_t outY = pixel / a.outW, outX = pixel % a.outW;
  const int64_t firstTap = first / c, firstChannel = first % c;
  const int64_t firstKh = firstTap / a.kernelW, firstKw = firstTap % a.kernelW;
  for (int r = 0; r < rows; r++, to += kStride) {
    int64_t kh = firstKh, kw = firstKw, channel = firstChannel;
    for (int64_t done = 0; done < count;) {
      const int64_t run = smaller(c - channel, count - done);
      int64_t y = outY * a.stride - a.padTop + kh, x = outX * a.stride - a.padLeft + kw;
      const uint8_t* from = nullptr;
      if (y >= 0 && y < height && x >= 0 && x < width) {
        if (resized) {
          y = y * a.h / height;
          x = x * a.w / width;
        }
        from = image + (y * a.w + x) * c + channel;
      }
      copyBytes(from, run, zero, to + done);
      done += run;
      channel = 0;
      if (++kw == a.kernelW) {
        kw = 0;
        kh++;
      }
    }
    if (++outX == a.outW) {
      outX = 0;
      outY++;
    }
  }
}

inline Product productOf(const ConvArgs& a) {
  const int64_t co = a.shape.n;
  return {a.n, a.outH * a.outW, a.shape, a.weight, &copyNeighbourhoods, nullptr, nullptr, false, a.bias,
          static_cast<const uint16_t*>(a.rowBias), a.ldRowBias, Activation::None, static_cast<const uint16_t*>(a.residual), co,
          static_cast<uint16_t*>(a.y), co, static_cast<const uint16_t*>(a.residualLow), static_cast<uint16_t*>(a.yLow)};
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

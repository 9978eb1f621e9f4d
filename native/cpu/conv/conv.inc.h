// Direct convolution for every set: gathers neighbourhoods for cpu/gemm. Include after a vocabulary.
#pragma once

namespace asdm::cpu::ASDM_SET {

// from null: zeros.
ASDM_INLINE void copyRun(const float* from, int64_t count, float* to) {
  int64_t i = 0;
  if (from == nullptr) {
    for (; i + kVf <= count; i += kVf) vstore(to + i, vzero());
    for (; i < count; i++) to[i] = 0.0f;
    return;
  }
  for (; i + kVf <= count; i += kVf) vstore(to + i, vload(from + i));
  for (; i < count; i++) to[i] = from[i];
}

// Writes the neighbourhoods of `rows` consecutive output pixels of one sample, elements first..first+count-1 in (kh, kw, c) order.
inline void copyNeighbourhoods(const void* source, int64_t row, int rows, int64_t first, int64_t count, float* to,
                               int64_t stride) {
  const ConvArgs& a = *static_cast<const ConvArgs*>(source);
  const int64_t c = a.shape.channels;
  const bool resized = a.resizeH > 0;
  const int64_t height = resized ? a.resizeH : a.h, width = resized ? a.resizeW : a.w;
  const int64_t sample = row / (a.outH * a.outW);
  const float* const image = static_cast<const float*>(a.x) + sample * a.h * a.w * c;
  const int64_t pixel = row - sample * a.outH * a.outW;
  int64_t outY = pixel / a.outW, outX = pixel % a.outW;
  const int64_t firstTap = first / c, firstChannel = first % c;
  const int64_t firstKh = firstTap / a.kernelW, firstKw = firstTap % a.kernelW;
  for (int r = 0; r < rows; r++, to += stride) {
    int64_t kh = firstKh, kw = firstKw, channel = firstChannel;
    for (int64_t done = 0; done < count;) {
      const int64_t run = c - channel < count - done ? c - channel : count - done;
      int64_t y = outY * a.stride - a.padTop + kh, x = outX * a.stride - a.padLeft + kw;
      const float* from = nullptr;
      if (y >= 0 && y < height && x >= 0 && x < width) {
        if (resized) {
          y = y * a.h / height;
          x = x * a.w / width;
        }
        from = image + (y * a.w + x) * c + channel;
      }
      copyRun(from, run, to + done);
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

// Neighbours in a row of pixels follow each other in memory, so a neighbourhood's run starts here and mostly goes on.
inline const float* neighbourhood(const void* source, int64_t row, int64_t first) {
  const ConvArgs& a = *static_cast<const ConvArgs*>(source);
  const int64_t c = a.shape.channels, pixels = a.outH * a.outW;
  const int64_t sample = row / pixels, pixel = row - sample * pixels, tap = first / c;
  int64_t y = pixel / a.outW * a.stride - a.padTop + tap / a.kernelW, x = pixel % a.outW * a.stride - a.padLeft + tap % a.kernelW;
  if (a.resizeH > 0) {
    y = y * a.h / a.resizeH;
    x = x * a.w / a.resizeW;
  }
  y = y < 0 ? 0 : y >= a.h ? a.h - 1 : y;
  x = x < 0 ? 0 : x >= a.w ? a.w - 1 : x;
  return static_cast<const float*>(a.x) + ((sample * a.h + y) * a.w + x) * c + first % c;
}

inline Product productOf(const ConvArgs& a) {
  const int64_t co = a.shape.n;
  return {a.n, a.outH * a.outW, a.shape, a.weight, &copyNeighbourhoods, &neighbourhood, &a, a.bias,
          static_cast<const float*>(a.rowBias), a.ldRowBias, Activation::None, static_cast<const float*>(a.residual), co,
          static_cast<float*>(a.y), co};
}

void conv(const ConvArgs& a, KernelContext& context) noexcept { product(productOf(a), context); }
size_t convScratch(const ConvArgs& a, int threads) noexcept { return productScratch(productOf(a), threads); }

}  // namespace asdm::cpu::ASDM_SET

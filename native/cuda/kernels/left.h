// The left side of a product: rows of x, or the neighbourhoods of a convolution's pixels, which are never materialised. A linear layer
// is a convolution of a 1x1 kernel over a row of pixels.
#pragma once

#include "cuda/kernels/numbers.h"

namespace asdm::cuda {

struct Left {
  const unsigned char* x;
  const unsigned char* xLow;  // or null; for products of floats
  int64_t sampleStride, rowStride, pixelStride;  // of the source, in elements
  int h, w;                // of the source
  int resizeH, resizeW;    // or 0
  int kernelH, kernelW, stride, padTop, padLeft;
  int outH, outW;
  int channels;
  int64_t rows;            // output pixels of all samples
};

// Which source pixels a row of the product reads.
struct LeftRow {
  int64_t sample;  // offset of its samples' first element
  int y, x;        // of the kernel's first tap, before resizing
  bool valid;
};

ASDM_DEVICE LeftRow leftRow(const Left& l, int64_t row) {
  LeftRow r;
  r.valid = row < l.rows;
  if (!r.valid) row = 0;
  const int64_t line = quotient(row, l.outW);
  const int64_t sample = quotient(line, l.outH);
  r.x = static_cast<int>(row - line * l.outW) * l.stride - l.padLeft;
  r.y = static_cast<int>(line - sample * l.outH) * l.stride - l.padTop;
  r.sample = sample * l.sampleStride;
  return r;
}

// Offset of the row's source pixel under a tap, in elements, or -1 where it is padding, or nothing.
ASDM_DEVICE int64_t leftPixel(const Left& l, const LeftRow& r, int tap) {
  if (!r.valid || tap >= l.kernelH * l.kernelW) return -1;
  const int kh = tap / l.kernelW;
  int y = r.y + kh, x = r.x + (tap - kh * l.kernelW);
  const bool resized = l.resizeH > 0;
  if (y < 0 || x < 0 || y >= (resized ? l.resizeH : l.h) || x >= (resized ? l.resizeW : l.w)) return -1;
  if (resized) {
    y = static_cast<int>(static_cast<int64_t>(y) * l.h / l.resizeH);
    x = static_cast<int>(static_cast<int64_t>(x) * l.w / l.resizeW);
  }
  return r.sample + y * l.rowStride + x * l.pixelStride;
}

inline Left leftOf(const LinearArgs& a) {
  Left l{};
  l.x = static_cast<const unsigned char*>(a.x);
  l.xLow = static_cast<const unsigned char*>(a.xLow);
  l.pixelStride = a.ldx;
  l.h = l.outH = 1;
  l.w = l.outW = static_cast<int>(a.m);
  l.kernelH = l.kernelW = l.stride = 1;
  l.channels = static_cast<int>(a.shape.channels);
  l.rows = a.m;
  return l;
}

inline Left leftOf(const ConvArgs& a) {
  Left l{};
  l.x = static_cast<const unsigned char*>(a.x);
  l.xLow = static_cast<const unsigned char*>(a.xLow);
  l.pixelStride = a.shape.channels;
  l.rowStride = a.w * a.shape.channels;
  l.sampleStride = a.h * l.rowStride;
  l.h = static_cast<int>(a.h);
  l.w = static_cast<int>(a.w);
  l.resizeH = static_cast<int>(a.resizeH);
  l.resizeW = static_cast<int>(a.resizeW);
  l.kernelH = static_cast<int>(a.kernelH);
  l.kernelW = static_cast<int>(a.kernelW);
  l.stride = static_cast<int>(a.stride);
  l.padTop = static_cast<int>(a.padTop);
  l.padLeft = static_cast<int>(a.padLeft);
  l.outH = static_cast<int>(a.outH);
  l.outW = static_cast<int>(a.outW);
  l.channels = static_cast<int>(a.shape.channels);
  l.rows = a.n * a.outH * a.outW;
  return l;
}

}  // namespace asdm::cuda

// Where a convolution's inputs lie, for every set and every number format.
#pragma once

namespace asdm::cpu::ASDM_SET {

// Walks the neighbourhoods of `rows` consecutive output pixels of one sample, elements first..first+count-1 in (kh, kw, c) order, run of
// neighbouring elements by run: copy(r, done, run, from), `done` of row r's elements being done, `run` lying at `from`, or in the padding
// where that is null. image: the batch's first pixel; row counts output pixels of the batch.
template <class T, class Copy>
ASDM_INLINE void walkNeighbourhoods(const ConvArgs& a, const T* image, int64_t row, int rows, int64_t first, int64_t count,
                                    const Copy& copy) {
  const int64_t c = a.shape.channels;
  const bool resized = a.resizeH > 0;
  const int64_t height = resized ? a.resizeH : a.h, width = resized ? a.resizeW : a.w;
  const int64_t sample = row / (a.outH * a.outW);
  image += sample * a.h * a.w * c;
  const int64_t pixel = row - sample * a.outH * a.outW;
  int64_t outY = pixel / a.outW, outX = pixel % a.outW;
  const int64_t firstTap = first / c, firstChannel = first % c;
  const int64_t firstKh = firstTap / a.kernelW, firstKw = firstTap % a.kernelW;
  for (int r = 0; r < rows; r++) {
    int64_t kh = firstKh, kw = firstKw, channel = firstChannel;
    for (int64_t done = 0; done < count;) {
      const int64_t run = c - channel < count - done ? c - channel : count - done;
      int64_t y = outY * a.stride - a.padTop + kh, x = outX * a.stride - a.padLeft + kw;
      const T* from = nullptr;
      if (y >= 0 && y < height && x >= 0 && x < width) {
        if (resized) {
          y = y * a.h / height;
          x = x * a.w / width;
        }
        from = image + (y * a.w + x) * c + channel;
      }
      copy(r, done, run, from);
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

}  // namespace asdm::cpu::ASDM_SET

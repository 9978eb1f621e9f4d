#include <cstring>

#include "cpu/elementwise/elementwise.h"

namespace asdm::cpu {

namespace {
constexpr int64_t kRunBytes = 1 << 18;

int64_t rowsPerTask(int64_t rowElements) {
  const int64_t rows = kRunBytes / (rowElements * static_cast<int64_t>(sizeof(float)));
  return rows > 1 ? rows : 1;
}

// y[c][r] = x[r][c] for r < rows, c < columns; square tiles, so that both sides stay within a few cache lines.
void transpose(const float* x, int64_t ldx, int64_t rows, int64_t columns, float* y, int64_t ldy) {
  constexpr int64_t tile = 16;
  for (int64_t r0 = 0; r0 < rows; r0 += tile) {
    const int64_t r1 = r0 + tile < rows ? r0 + tile : rows;
    for (int64_t c0 = 0; c0 < columns; c0 += tile) {
      const int64_t c1 = c0 + tile < columns ? c0 + tile : columns;
      for (int64_t c = c0; c < c1; c++)
        for (int64_t r = r0; r < r1; r++) y[c * ldy + r] = x[r * ldx + c];
    }
  }
}
}  // namespace

void concat(const ConcatArgs& a, KernelContext& context) noexcept {
  const int64_t width = a.ca + a.cb, step = rowsPerTask(width);
  const float* first = static_cast<const float*>(a.a);
  const float* second = static_cast<const float*>(a.b);
  float* y = static_cast<float*>(a.y);
  context.pool.run((a.rows + step - 1) / step, [&](int64_t task, int) {
    const int64_t last = (task + 1) * step < a.rows ? (task + 1) * step : a.rows;
    for (int64_t row = task * step; row < last; row++) {
      std::memcpy(y + row * width, first + row * a.ca, static_cast<size_t>(a.ca) * sizeof(float));
      std::memcpy(y + row * width + a.ca, second + row * a.cb, static_cast<size_t>(a.cb) * sizeof(float));
    }
  });
}

void embed(const EmbedArgs& a, KernelContext& context) noexcept {
  context.pool.run(a.batch, [&](int64_t b, int) {
    for (int64_t i = 0; i < a.length; i++) {
      const float* token = a.token + static_cast<int64_t>(a.ids[b * a.length + i]) * a.width;
      const float* position = a.position + i * a.width;
      float* y = static_cast<float*>(a.y) + (b * a.length + i) * a.width;
      for (int64_t j = 0; j < a.width; j++) y[j] = token[j] + position[j];
    }
  });
}

void toChannelsLast(const LayoutArgs& a, KernelContext& context) noexcept {
  const int64_t step = rowsPerTask(a.c), tasks = (a.pixels + step - 1) / step;
  context.pool.run(a.n * tasks, [&](int64_t task, int) {
    const int64_t sample = task / tasks, first = task % tasks * step;
    const int64_t count = first + step < a.pixels ? step : a.pixels - first;
    const int64_t base = sample * a.c * a.pixels;
    transpose(static_cast<const float*>(a.x) + base + first, a.pixels, a.c, count, static_cast<float*>(a.y) + base + first * a.c, a.c);
  });
}

void toChannelsFirst(const LayoutArgs& a, KernelContext& context) noexcept {
  const int64_t step = rowsPerTask(a.c), tasks = (a.pixels + step - 1) / step;
  context.pool.run(a.n * tasks, [&](int64_t task, int) {
    const int64_t sample = task / tasks, first = task % tasks * step;
    const int64_t count = first + step < a.pixels ? step : a.pixels - first;
    const int64_t base = sample * a.c * a.pixels;
    transpose(static_cast<const float*>(a.x) + base + first * a.c, a.c, count, a.c, static_cast<float*>(a.y) + base + first, a.pixels);
  });
}

}  // namespace asdm::cpu

#include <cstring>

#include "cpu/elementwise/elementwise.h"

namespace asdm::cpu {

namespace {
constexpr int64_t kRunBytes = 1 << 18;

int64_t rowsPerTask(int64_t rowElements, size_t elementBytes) {
  const int64_t rows = kRunBytes / (rowElements * static_cast<int64_t>(elementBytes));
  return rows > 1 ? rows : 1;
}

// y[c][r] = x[r][c] for r < rows, c < columns; square tiles, so that both sides stay within a few cache lines.
template <class From, class To>
void transpose(const From* x, int64_t ldx, int64_t rows, int64_t columns, To* y, int64_t ldy) {
  constexpr int64_t tile = 16;
  for (int64_t r0 = 0; r0 < rows; r0 += tile) {
    const int64_t r1 = r0 + tile < rows ? r0 + tile : rows;
    for (int64_t c0 = 0; c0 < columns; c0 += tile) {
      const int64_t c1 = c0 + tile < columns ? c0 + tile : columns;
      for (int64_t c = c0; c < c1; c++)
        for (int64_t r = r0; r < r1; r++) assign(y[c * ldy + r], toFloat(x[r * ldx + c]));
    }
  }
}

// The same for what rounding to `To` takes away. Inputs are few; a plain loop will do.
template <class To>
void transposeLow(const float* x, int64_t ldx, int64_t rows, int64_t columns, To* y, int64_t ldy) {
  for (int64_t c = 0; c < columns; c++)
    for (int64_t r = 0; r < rows; r++) {
      To rounded;
      assign(rounded, x[r * ldx + c]);
      assign(y[c * ldy + r], x[r * ldx + c] - toFloat(rounded));
    }
}
}  // namespace

template <class E>
void concat(const ConcatArgs& a, KernelContext& context) noexcept {
  const E* const first = static_cast<const E*>(a.a);
  const E* const second = static_cast<const E*>(a.b);
  E* const y = static_cast<E*>(a.y);
  const E* const firstLow = static_cast<const E*>(a.aLow);
  const E* const secondLow = static_cast<const E*>(a.bLow);
  E* const yLow = static_cast<E*>(a.yLow);
  const int64_t width = a.ca + a.cb, step = rowsOfTask(a.rows, width, kRunBytes / static_cast<int64_t>(sizeof(E)), context.pool.threads());
  const auto copy = [](E* to, const E* from, int64_t row, int64_t count) {
    if (from != nullptr) std::memcpy(to, from + row * count, static_cast<size_t>(count) * sizeof(E));
    else std::memset(to, 0, static_cast<size_t>(count) * sizeof(E));
  };
  context.pool.run((a.rows + step - 1) / step, [&](int64_t task, int) {
    const int64_t last = (task + 1) * step < a.rows ? (task + 1) * step : a.rows;
    for (int64_t row = task * step; row < last; row++) {
      copy(y + row * width, first, row, a.ca);
      copy(y + row * width + a.ca, second, row, a.cb);
      if (yLow == nullptr) continue;
      copy(yLow + row * width, firstLow, row, a.ca);
      copy(yLow + row * width + a.ca, secondLow, row, a.cb);
    }
  });
}

template <class E>
void slice(const SliceArgs& a, KernelContext& context) noexcept {
  const int64_t step = rowsOfTask(a.rows, a.width, kRunBytes / static_cast<int64_t>(sizeof(E)), context.pool.threads());
  context.pool.run((a.rows + step - 1) / step, [&](int64_t task, int) {
    const int64_t last = (task + 1) * step < a.rows ? (task + 1) * step : a.rows;
    for (int64_t row = task * step; row < last; row++)
      std::memcpy(static_cast<E*>(a.y) + row * a.width, static_cast<const E*>(a.x) + row * a.columns + a.first,
                  static_cast<size_t>(a.width) * sizeof(E));
  });
}

template <class E>
void embed(const EmbedArgs& a, KernelContext& context) noexcept {
  context.pool.run(a.batch, [&](int64_t b, int) {
    for (int64_t i = 0; i < a.length; i++) {
      const E* token = static_cast<const E*>(a.token) + static_cast<int64_t>(a.ids[b * a.length + i]) * a.width;
      const E* position = static_cast<const E*>(a.position) + i * a.width;
      E* y = static_cast<E*>(a.y) + (b * a.length + i) * a.width;
      for (int64_t j = 0; j < a.width; j++) assign(y[j], toFloat(token[j]) + toFloat(position[j]));
    }
  });
}

// Rounds to E.
template <class E>
void toChannelsLast(const LayoutArgs& a, KernelContext& context) noexcept {
  const float* const x = static_cast<const float*>(a.x);
  E* const y = static_cast<E*>(a.y);
  const int64_t step = rowsPerTask(a.c, sizeof(float)), tasks = (a.pixels + step - 1) / step;
  context.pool.run(a.n * tasks, [&](int64_t task, int) {
    const int64_t sample = task / tasks, first = task % tasks * step;
    const int64_t count = first + step < a.pixels ? step : a.pixels - first;
    const int64_t base = sample * a.c * a.pixels;
    transpose(x + base + first, a.pixels, a.c, count, y + base + first * a.c, a.c);
    if (a.yLow != nullptr) transposeLow(x + base + first, a.pixels, a.c, count, static_cast<E*>(a.yLow) + base + first * a.c, a.c);
  });
}

template <class E>
void toChannelsFirst(const LayoutArgs& a, KernelContext& context) noexcept {
  const E* const x = static_cast<const E*>(a.x);
  float* const y = static_cast<float*>(a.y);
  const int64_t step = rowsPerTask(a.c, sizeof(float)), tasks = (a.pixels + step - 1) / step;
  context.pool.run(a.n * tasks, [&](int64_t task, int) {
    const int64_t sample = task / tasks, first = task % tasks * step;
    const int64_t count = first + step < a.pixels ? step : a.pixels - first;
    const int64_t base = sample * a.c * a.pixels;
    transpose(x + base + first * a.c, a.c, count, a.c, y + base + first, a.pixels);
  });
}

template <class E>
void copy(const CopyArgs& a, KernelContext& context) noexcept {
  context.pool.run((a.bytes + kRunBytes - 1) / kRunBytes, [&](int64_t task, int) {
    const int64_t begin = task * kRunBytes, count = begin + kRunBytes < a.bytes ? kRunBytes : a.bytes - begin;
    std::memcpy(static_cast<std::byte*>(a.y) + begin, static_cast<const std::byte*>(a.x) + begin, static_cast<size_t>(count));
  });
}

#define ASDM_INSTANTIATE(E)                                                    \
  template void concat<E>(const ConcatArgs&, KernelContext&) noexcept;         \
  template void copy<E>(const CopyArgs&, KernelContext&) noexcept;             \
  template void slice<E>(const SliceArgs&, KernelContext&) noexcept;           \
  template void embed<E>(const EmbedArgs&, KernelContext&) noexcept;           \
  template void toChannelsLast<E>(const LayoutArgs&, KernelContext&) noexcept; \
  template void toChannelsFirst<E>(const LayoutArgs&, KernelContext&) noexcept;

ASDM_INSTANTIATE(float)
ASDM_INSTANTIATE(Bf16)

}  // namespace asdm::cpu

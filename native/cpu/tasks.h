// How work that passes over rows is cut into tasks.
#pragma once

#include <cstdint>

namespace asdm::cpu {

// Elements below which one thread passes over all of them: handing a pass out takes some 3 us, which two threads do not save (measured on
// Zen 5 with AVX-512).
constexpr int64_t kSharedElements = 16384;

// Rows of a task, where each row of `width` elements is computed by itself: two tasks for each thread, so that each finds in its cache what
// it wrote before; but at least some 2000 elements, which outweighs the handing out, and at most `most` (or one row).
inline int64_t rowsOfTask(int64_t rows, int64_t width, int64_t most, int threads) {
  constexpr int64_t kLeast = 2048;
  const int64_t parts = int64_t{2} * threads, fair = (rows + parts - 1) / parts;
  const int64_t fewest = (kLeast + width - 1) / width, largest = most / width > 1 ? most / width : 1;
  const int64_t wanted = fair > fewest ? fair : fewest;
  return wanted < largest ? wanted : largest;
}

}  // namespace asdm::cpu

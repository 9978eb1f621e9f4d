// Work on long rows of numbers or bytes, cut into tasks.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/thread_pool.h"

namespace asdm {

// Numbers or bytes in one task, a millisecond's work.
constexpr uint64_t kPiece = uint64_t{1} << 18;

// body(begin, end) for pieces of [0, count).
template <class Body>
void inPieces(ThreadPool& pool, uint64_t count, const Body& body) {
  const auto tasks = static_cast<int64_t>((count + kPiece - 1) / kPiece);
  pool.run(tasks, [&](int64_t task, int) {
    const uint64_t begin = static_cast<uint64_t>(task) * kPiece;
    body(begin, std::min(count, begin + kPiece));
  });
}

inline void copyBytes(std::byte* to, const std::byte* from, uint64_t bytes, ThreadPool& pool) {
  inPieces(pool, bytes, [&](uint64_t begin, uint64_t end) { std::memcpy(to + begin, from + begin, end - begin); });
}

}  // namespace asdm

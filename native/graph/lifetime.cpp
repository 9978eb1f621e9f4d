#include "graph/lifetime.h"

#include <algorithm>

#include "core/memory.h"

namespace asdm {

namespace {

// A chain of values that take over each other's memory.
struct Buffer {
  int first, last;
  uint64_t bytes, offset;
};

uint64_t bestOffset(const Buffer& buffer, const std::vector<Buffer>& placed) {
  uint64_t best = 0, bestGap = UINT64_MAX, end = 0;
  for (const Buffer& other : placed) {  // by offset
    if (other.last < buffer.first || other.first > buffer.last) continue;
    if (other.offset > end) {
      const uint64_t gap = other.offset - end;
      if (gap >= buffer.bytes && gap < bestGap) {
        best = end;
        bestGap = gap;
      }
    }
    end = std::max(end, other.offset + other.bytes);
  }
  return bestGap == UINT64_MAX ? end : best;
}

}  // namespace

Placement placeValues(const std::vector<Lifetime>& values, uint64_t alignment) {
  std::vector<Buffer> buffers;
  std::vector<size_t> bufferOf(values.size());
  for (size_t v = 0; v < values.size(); v++) {
    const Lifetime& value = values[v];
    if (value.takesOver >= 0) {  // an earlier value
      bufferOf[v] = bufferOf[static_cast<size_t>(value.takesOver)];
      buffers[bufferOf[v]].last = value.last;
    } else {
      bufferOf[v] = buffers.size();
      buffers.push_back({value.first, value.last, alignUp(value.bytes, alignment), 0});
    }
  }

  std::vector<size_t> order(buffers.size());
  for (size_t i = 0; i < order.size(); i++) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return buffers[a].bytes != buffers[b].bytes ? buffers[a].bytes > buffers[b].bytes : a < b; });
  Placement result;
  std::vector<Buffer> placed;
  placed.reserve(buffers.size());
  for (size_t i : order) {
    Buffer& buffer = buffers[i];
    buffer.offset = bestOffset(buffer, placed);
    result.bytes = std::max(result.bytes, buffer.offset + buffer.bytes);
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), buffer, [](const Buffer& a, const Buffer& b) { return a.offset < b.offset; }),
        buffer);
  }
  result.offsets.resize(values.size());
  for (size_t v = 0; v < values.size(); v++) result.offsets[v] = buffers[bufferOf[v]].offset;
  return result;
}

}  // namespace asdm

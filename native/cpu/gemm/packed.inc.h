// Where a packed weight lies, for those who read it by themselves. Include after tile.inc.h.
#pragma once

namespace asdm::cpu::ASDM_SET {

ASDM_INLINE int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
ASDM_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Steps of k: groups of kGroup elements, filled up to a multiple of kWhole.
ASDM_INLINE int64_t stepsOf(const WeightShape& shape) { return ceilDiv(shape.k(), kGroup * kWhole) * kWhole; }

// Length of the k blocks in steps (the last may be shorter): equal parts, at most kKc, whole cache lines.
ASDM_INLINE int64_t blockLength(int64_t steps) {
  const int64_t parts = ceilDiv(steps, kKc);
  return smaller(kKc, ceilDiv(ceilDiv(steps, parts), 16) * 16);
}

// A panel's output features for element k of the right-hand side, a multiple of kGroup, and elements that follow: *length of them.
template <class E>
const void* packedRow(const WeightShape& shape, const void* packed, int64_t panel, int64_t k, int64_t* length) {
  const int64_t steps = stepsOf(shape), kc = blockLength(steps), step = k / kGroup, first = step / kc * kc;
  const int64_t block = smaller(kc, steps - first);
  *length = (first + block - step) * kGroup;
  return static_cast<const E*>(packed) + (first * ceilDiv(shape.n, kNr) + panel * block + step - first) * kStep;
}

}  // namespace asdm::cpu::ASDM_SET

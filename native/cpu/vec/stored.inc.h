// Numbers as files store them (F32, F16, BF16; little-endian, at any address) to floats. Include after a vocabulary, with ASDM_SET
// defined, and <cstring> and core/tensor.h included.
#pragma once

namespace asdm::cpu::ASDM_SET {

ASDM_INLINE vf vloadstored(DType stored, const unsigned char* p) {
  if (stored == DType::F16) return vloadf16(p);
  if (stored == DType::BF16) return vloadbf16(p);
  return vloadf32(p);
}

// `stored` is a constant where this is inlined, so that the loop has no branches.
ASDM_INLINE void widenAs(DType stored, const unsigned char* from, int64_t count, float* to, vf& odd) {
  const int64_t bytes = dtypeBytes(stored);
  int64_t i = 0;
  for (; i + kVf <= count; i += kVf) {
    const vf v = vloadstored(stored, from + i * bytes);
    odd = vadd(odd, vsub(v, v));
    vstore(to + i, v);
  }
  if (i == count) return;
  unsigned char rest[kVf * sizeof(float)] = {};
  std::memcpy(rest, from + i * bytes, static_cast<size_t>((count - i) * bytes));
  const vf v = vloadstored(stored, rest);
  odd = vadd(odd, vsub(v, v));
  vstoren(to + i, v, static_cast<int>(count - i));
}

// to[i] = from[i]. Where one is infinite or NaN, `odd`, zero at first, is NaN from then on.
ASDM_INLINE void widen(DType stored, const unsigned char* from, int64_t count, float* to, vf& odd) {
  if (stored == DType::F16) widenAs(DType::F16, from, count, to, odd);
  else if (stored == DType::BF16) widenAs(DType::BF16, from, count, to, odd);
  else widenAs(DType::F32, from, count, to, odd);
}

ASDM_INLINE bool allFinite(vf odd) { return vsum(odd) == 0.0f; }

}  // namespace asdm::cpu::ASDM_SET

// Words for integers in plain C++. Include after vec/portable.h.
#pragma once

namespace asdm::cpu::ASDM_SET::int8 {

struct vi {
  int32_t lane[kVf];
};

// Modulo 2^32, which signed arithmetic does not promise.
ASDM_INLINE int32_t wrapped(uint32_t x) { return static_cast<int32_t>(x); }

#define ASDM_EACH(expression)                               \
  vi out;                                                   \
  for (int i = 0; i < kVf; i++) out.lane[i] = (expression); \
  return out

ASDM_INLINE vi viSet(int32_t x) { ASDM_EACH(x); }
ASDM_INLINE vi viLoad(const int32_t* p) { ASDM_EACH(p[i]); }
ASDM_INLINE void viStore(int32_t* p, vi v) {
  for (int i = 0; i < kVf; i++) p[i] = v.lane[i];
}
ASDM_INLINE vi viAdd(vi a, vi b) { ASDM_EACH(wrapped(static_cast<uint32_t>(a.lane[i]) + static_cast<uint32_t>(b.lane[i]))); }
ASDM_INLINE vi viSub(vi a, vi b) { ASDM_EACH(wrapped(static_cast<uint32_t>(a.lane[i]) - static_cast<uint32_t>(b.lane[i]))); }
ASDM_INLINE vi viMul(vi a, vi b) { ASDM_EACH(wrapped(static_cast<uint32_t>(a.lane[i]) * static_cast<uint32_t>(b.lane[i]))); }
ASDM_INLINE vf viFloat(vi a) {
  vf out;
  for (int i = 0; i < kVf; i++) out.lane[i] = static_cast<float>(a.lane[i]);
  return out;
}
#undef ASDM_EACH

ASDM_INLINE void storeBytes(uint8_t* p, vf v) {
  const vf whole = vround(vmin(vset(255.0f), vmax(v, vzero())));
  for (int i = 0; i < kVf; i++) p[i] = static_cast<uint8_t>(whole.lane[i]);
}

}  // namespace asdm::cpu::ASDM_SET::int8

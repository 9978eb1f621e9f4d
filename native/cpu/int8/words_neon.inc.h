// Words for NEON's integers. Include after vec/neon.h and the set's sizes.
#pragma once

namespace asdm::cpu::ASDM_SET::int8 {

using vi = int32x4_t;
ASDM_INLINE vi viZero() { return vdupq_n_s32(0); }
ASDM_INLINE vi viSet(int32_t x) { return vdupq_n_s32(x); }
ASDM_INLINE vi viLoad(const int32_t* p) { return vld1q_s32(p); }
ASDM_INLINE void viStore(int32_t* p, vi v) { vst1q_s32(p, v); }
ASDM_INLINE vi viAdd(vi a, vi b) { return vaddq_s32(a, b); }
ASDM_INLINE vi viSub(vi a, vi b) { return vsubq_s32(a, b); }
ASDM_INLINE vi viMul(vi a, vi b) { return vmulq_s32(a, b); }
ASDM_INLINE vf viFloat(vi a) { return vcvtq_f32_s32(a); }
ASDM_INLINE vi viLeft(const Left* a) {
  int32_t slot;
  std::memcpy(&slot, a, sizeof slot);
  return vdupq_n_s32(slot);
}

ASDM_INLINE void storeBytes(uint8_t* p, vf v) {
  const uint16x4_t words = vqmovun_s32(vcvtnq_s32_f32(v));
  const uint8x8_t bytes = vqmovn_u16(vcombine_u16(words, words));
  vst1_lane_u32(reinterpret_cast<uint32_t*>(p), vreinterpret_u32_u8(bytes), 0);
}

}  // namespace asdm::cpu::ASDM_SET::int8

// 2^t for attention weights, in the vector vocabulary. Include after a vocabulary header, with ASDM_SET defined.
#pragma once

namespace asdm::cpu::ASDM_SET {

// 2^t for t <= 127 to about 2e-7; t < -126 gives 0, NaN stays NaN. t = n + r with n the nearest integer; degree-5 polynomial for
// 2^r fitted to equal relative error (7.5e-8) on [-1/2, 1/2].
ASDM_INLINE vf vweight(vf t) {
  const vf c = vmax(vset(-126.0f), t);  // in this order NaN passes
  const vf n = vround(c);
  const vf r = vsub(c, n);
  vf p = vset(0.00132764713f);
  p = vfma(p, r, vset(0.00967554189f));
  p = vfma(p, r, vset(0.0555071309f));
  p = vfma(p, r, vset(0.240221202f));
  p = vfma(p, r, vset(0.693146944f));
  p = vfma(p, r, vset(1.00000012f));
  return vselect(vlt(t, vset(-126.0f)), vzero(), vmul(p, vexp2i(n)));
}

}  // namespace asdm::cpu::ASDM_SET

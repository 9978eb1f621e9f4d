// Functions by the type of the elements that their results become: for float those of math.inc.h; for bfloat16 cheaper ones, where
// the set has the means, which are off by at most a sixteenth of the rounding to it. Include after math.inc.h, with ASDM_SET defined.
#pragma once

namespace asdm::cpu::ASDM_SET {

template <class E>
struct Math {
  static ASDM_INLINE vf silu(vf x) { return vsilu(x); }
  static ASDM_INLINE vf gelu(vf x) { return vgelu(x); }
};

#if defined(ASDM_VEC_FAST)
template <>
struct Math<Bf16> {
  static ASDM_INLINE vf silu(vf x) { return vmul(x, vinvfast(vadd(vset(1.0f), vexp2fast(vmul(x, vset(-1.44269504f)))))); }

  // max(x, 0) - |x| Q(|x|) with Q(z) = erfc(z / sqrt 2) / 2 = 2^-R(z); R fits -log2(Q) on [0, 5] so that Q is off by 1.3e-4 at most
  // up to 4, and goes on growing beyond, so that Q vanishes. 16 is far enough, and infinity times 0 would be NaN.
  static ASDM_INLINE vf gelu(vf x) {
    const vf z = vmin(vset(16.0f), vabs(x));
    vf r = vset(-2.852616e-4f);
    r = vfma(r, z, vset(0.005468834f));
    r = vfma(r, z, vset(-0.046976775f));
    r = vfma(r, z, vset(-0.46590188f));
    r = vfma(r, z, vset(-1.1483129f));
    r = vfma(r, z, vset(-1.000186f));
    return vsub(vmax(vzero(), x), vmul(z, vexp2fast(r)));
  }
};
#endif

template <class E>
ASDM_INLINE vf vactivateFor(Activation activation, vf x) {
  switch (activation) {
    case Activation::Silu: return Math<E>::silu(x);
    case Activation::Gelu: return Math<E>::gelu(x);
    default: return vactivate(activation, x);
  }
}

}  // namespace asdm::cpu::ASDM_SET

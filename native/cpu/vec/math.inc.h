// Transcendental functions in the vector vocabulary. Include after a vocabulary header, with ASDM_SET defined.
// Polynomials are least-squares fits reweighted towards equal error, made for these functions on these ranges.
#pragma once

namespace asdm::cpu::ASDM_SET {

// e^x to about 1 ulp. Range reduction x = n ln 2 + r, |r| <= ln 2 / 2, ln 2 in two parts (Cody & Waite 1980); degree-6 polynomial.
// x < -87.33 gives 0 (the smallest normal floats are flushed too), x > 88.37 gives e^88.37; NaN stays NaN.
ASDM_INLINE vf vexp(vf x) {
  const vm tiny = vlt(x, vset(-87.33f));
  // Operand order matters: vmin and vmax give the second operand where one is NaN.
  const vf c = vmax(vset(-87.33f), vmin(vset(88.37f), x));
  const vf n = vround(vmul(c, vset(1.44269504f)));
  vf r = vfma(n, vset(-0.693359375f), c);
  r = vfma(n, vset(2.12194440e-4f), r);
  vf p = vset(0.0013836834f);
  p = vfma(p, r, vset(0.008374816f));
  p = vfma(p, r, vset(0.041668225f));
  p = vfma(p, r, vset(0.1666642f));
  p = vfma(p, r, vset(0.4999999f));
  p = vfma(p, r, vset(1.0f));
  p = vfma(p, r, vset(1.0f));
  // n may be 127.5 rounded up at most; vexp2i takes up to 127.
  const vf scaled = vmul(p, vexp2i(vmin(vset(127.0f), n)));
  // c - c is 0, or NaN where x is NaN, which the integer conversion may have lost.
  return vselect(tiny, vzero(), vadd(scaled, vsub(c, c)));
}

// x / (1 + e^-x)
ASDM_INLINE vf vsilu(vf x) { return vdiv(x, vadd(vset(1.0f), vexp(vsub(vzero(), x)))); }

// x / (1 + e^(-1.702 x)), CLIP's approximation of gelu
ASDM_INLINE vf vquickgelu(vf x) { return vdiv(x, vadd(vset(1.0f), vexp(vmul(x, vset(-1.702f))))); }

// 1 + erf(x / sqrt 2). With z = |x| / sqrt 2: erf z = z P(z^2) below 1, 1 - e^(-z G(z)) above, where G fits -ln(erfc z) / z; erf 4 is 1
// in float32.
ASDM_INLINE vf vonePlusErf(vf x) {
  const vf z = vmul(vabs(x), vset(0.70710678f));
  const vf s = vmul(z, z);
  vf p = vset(7.889113e-05f);
  p = vfma(p, s, vset(-0.00080208393f));
  p = vfma(p, s, vset(0.005189535f));
  p = vfma(p, s, vset(-0.026854444f));
  p = vfma(p, s, vset(0.112836f));
  p = vfma(p, s, vset(-0.37612626f));
  p = vfma(p, s, vset(1.1283791f));
  const vf small = vmul(z, p);
  const vf c = vmin(vset(4.0f), z);
  vf g = vset(1.4134167e-05f);
  g = vfma(g, c, vset(-0.00035233542f));
  g = vfma(g, c, vset(0.0037646734f));
  g = vfma(g, c, vset(-0.024025537f));
  g = vfma(g, c, vset(0.10654914f));
  g = vfma(g, c, vset(0.63495827f));
  g = vfma(g, c, vset(1.1286972f));
  const vf large = vsub(vset(1.0f), vexp(vmul(vsub(vzero(), c), g)));
  const vf e = vselect(vlt(z, vset(1.0f)), small, large);
  const vf signedErf = vselect(vlt(x, vzero()), vsub(vzero(), e), e);
  return vadd(vset(1.0f), signedErf);
}

// 0.5 x (1 + erf(x / sqrt 2)), exact form; off by at most 2e-7 max(1, |x|).
ASDM_INLINE vf vgelu(vf x) { return vmul(vmul(vset(0.5f), x), vonePlusErf(x)); }

// max(x, 0); NaN stays NaN, as vmax gives its second operand then.
ASDM_INLINE vf vrelu(vf x) { return vmax(vzero(), x); }

// 3 tanh(x / 3): tanh z = (1 - t) / (1 + t) with t = e^(-2 |z|), of the sign of z.
ASDM_INLINE vf vsoftclamp(vf x) {
  const vf t = vexp(vmul(vabs(x), vset(-2.0f / 3.0f)));
  const vf clamped = vdiv(vmul(vset(3.0f), vsub(vset(1.0f), t)), vadd(vset(1.0f), t));
  return vselect(vlt(x, vzero()), vsub(vzero(), clamped), clamped);
}

ASDM_INLINE vf vactivate(Activation activation, vf x) {
  switch (activation) {
    case Activation::Silu: return vsilu(x);
    case Activation::Gelu: return vgelu(x);
    case Activation::QuickGelu: return vquickgelu(x);
    case Activation::Relu: return vrelu(x);
    case Activation::SoftClamp: return vsoftclamp(x);
    case Activation::FromSigned: return vmul(vadd(x, vset(1.0f)), vset(0.5f));
    case Activation::ToSigned: return vsub(vmul(x, vset(2.0f)), vset(1.0f));
    case Activation::None: break;
  }
  return x;
}

// Derivatives. Of x s(kx), s(x) = 1 / (1 + e^-x): s + kx s (1 - s).
ASDM_INLINE vf vswishSlope(vf x, float k) {
  const vf scaled = vmul(x, vset(k)), s = vdiv(vset(1.0f), vadd(vset(1.0f), vexp(vsub(vzero(), scaled))));
  return vmul(s, vfma(scaled, vsub(vset(1.0f), s), vset(1.0f)));
}

// Of gelu: (1 + erf(x / sqrt 2)) / 2 + x e^(-x^2 / 2) / sqrt(2 pi).
ASDM_INLINE vf vgeluSlope(vf x) {
  const vf density = vmul(vset(0.39894228f), vexp(vmul(vset(-0.5f), vmul(x, x))));
  return vfma(x, density, vmul(vset(0.5f), vonePlusErf(x)));
}

ASDM_INLINE vf vactivationSlope(Activation activation, vf x) {
  switch (activation) {
    case Activation::Silu: return vswishSlope(x, 1.0f);
    case Activation::Gelu: return vgeluSlope(x);
    case Activation::QuickGelu: return vswishSlope(x, 1.702f);
    case Activation::Relu: return vselect(vlt(vzero(), x), vset(1.0f), vzero());
    case Activation::SoftClamp: {
      const vf tanh = vmul(vsoftclamp(x), vset(1.0f / 3.0f));
      return vsub(vset(1.0f), vmul(tanh, tanh));
    }
    case Activation::FromSigned: return vset(0.5f);
    case Activation::ToSigned: return vset(2.0f);
    case Activation::None: break;
  }
  return vset(1.0f);
}

}  // namespace asdm::cpu::ASDM_SET

// The transforms of Winograd's F(4x4, 3x3) (Lavin & Gray 2016; Winograd 1980), on vectors of channels. Include after a vocabulary.
//
// Y = A^T [(G g G^T) * (B^T d B)] A for a 3x3 kernel g, a 6x6 patch d of the input and the 4x4 outputs Y. The matrices follow from
// the six points at which the two polynomials are multiplied: 0, a, -a, b, -b and infinity (Toom & Cook). The usual 0, +-1, +-2
// gives twice the rounding error of a = 2/3, b = 3/2, whose powers stay near one; a b = 1 saves multiplications. Measured in
// test/ops/winograd.test.ts against double precision.
#pragma once

namespace asdm::cpu::ASDM_SET {

constexpr float kA = 2.0f / 3.0f, kB = 1.5f;

// One dimension of B^T d: the products (x - other points) as polynomials, applied to d.
ASDM_INLINE void inputLine(const vf (&d)[6], vf (&v)[6]) {
  constexpr float kSquares = kA * kA + kB * kB;
  const vf evenA = vfma(vset(-kB * kB), d[2], d[4]), oddA = vfma(vset(-kB * kB), d[1], d[3]);
  const vf evenB = vfma(vset(-kA * kA), d[2], d[4]), oddB = vfma(vset(-kA * kA), d[1], d[3]);
  v[0] = vfma(vset(-kSquares), d[2], vadd(d[0], d[4]));
  v[1] = vfma(vset(kA), oddA, evenA);
  v[2] = vfma(vset(-kA), oddA, evenA);
  v[3] = vfma(vset(kB), oddB, evenB);
  v[4] = vfma(vset(-kB), oddB, evenB);
  v[5] = vfma(vset(-kSquares), d[3], vadd(d[1], d[5]));
}

// One dimension of G g: the kernel's polynomial at the points, over the product of the point's differences to the others.
ASDM_INLINE void weightLine(vf g0, vf g1, vf g2, vf (&u)[6]) {
  constexpr float kOverA = static_cast<float>(1.0 / (2.0 * (4.0 / 9.0) * (4.0 / 9.0 - 9.0 / 4.0)));
  constexpr float kOverB = static_cast<float>(1.0 / (2.0 * (9.0 / 4.0) * (9.0 / 4.0 - 4.0 / 9.0)));
  const vf evenA = vfma(vset(kOverA * kA * kA), g2, vmul(vset(kOverA), g0)), oddA = vmul(vset(kOverA * kA), g1);
  const vf evenB = vfma(vset(kOverB * kB * kB), g2, vmul(vset(kOverB), g0)), oddB = vmul(vset(kOverB * kB), g1);
  u[0] = g0;
  u[1] = vadd(evenA, oddA);
  u[2] = vsub(evenA, oddA);
  u[3] = vadd(evenB, oddB);
  u[4] = vsub(evenB, oddB);
  u[5] = g2;
}

// One dimension of A^T m: powers of the points.
ASDM_INLINE void outputLine(const vf (&m)[6], vf (&y)[4]) {
  const vf sumA = vadd(m[1], m[2]), sumB = vadd(m[3], m[4]), differenceA = vsub(m[1], m[2]), differenceB = vsub(m[3], m[4]);
  y[0] = vadd(m[0], vadd(sumA, sumB));
  y[1] = vfma(vset(kA), differenceA, vmul(vset(kB), differenceB));
  y[2] = vfma(vset(kA * kA), sumA, vmul(vset(kB * kB), sumB));
  y[3] = vadd(m[5], vfma(vset(kA * kA * kA), differenceA, vmul(vset(kB * kB * kB), differenceB)));
}

}  // namespace asdm::cpu::ASDM_SET

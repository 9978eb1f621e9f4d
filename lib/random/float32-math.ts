/**
 * Logarithm, sine and cosine in float32, rounded step by step as PyTorch's vector code for x86 rounds them (`avx_mathfun.h`: the
 * polynomials of S. Moshier's Cephes, `logf.c` and `sinf.c`, arranged for vectors by J. Pommier and G. Garberoglio; compilers fuse
 * a product with the sum behind it there, as {@link fused} does). Math.log and its kin round better and therefore differently.
 */

const fround = Math.fround
const floats = (...values: number[]): readonly number[] => Array.from(Float32Array.from(values))

/** a * b + c with one rounding to float32; the product of two float32 numbers is exact in float64. */
const fused = (a: number, b: number, c: number): number => fround(a * b + c)

const LOG = floats(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1,
  -2.4999993993e-1, 3.3333331174e-1)
const SINE = floats(-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
const COSINE = floats(2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
/** ln 2 and a quarter of pi in parts, the first ones with few digits, so that whole multiples of them are exact. */
const [LN2_HIGH, LN2_LOW] = floats(0.693359375, -2.12194440e-4) as [number, number]
const [QUARTER_HIGH, QUARTER_MIDDLE, QUARTER_LOW] = floats(
  0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8,
) as [number, number, number]
const [SQRT_HALF, FOUR_OVER_PI] = floats(Math.SQRT1_2, 4 / Math.PI) as [number, number]

function polynomial(coefficients: readonly number[], x: number): number {
  let sum = coefficients[0]!
  for (let i = 1; i < coefficients.length; i++) sum = fused(sum, x, coefficients[i]!)
  return sum
}

const cell = new Float32Array(1)
const bits = new Int32Array(cell.buffer)

/** The natural logarithm of a normal, positive float32 number. */
export function log32(value: number): number {
  cell[0] = value
  let exponent = (bits[0]! >>> 23) - 126
  bits[0] = (bits[0]! & 0x007fffff) | 0x3f000000 // the mantissa, in [0.5, 1)
  const mantissa = cell[0]
  const small = mantissa < SQRT_HALF
  if (small) exponent -= 1
  const x = small ? fround(fround(mantissa - 1) + mantissa) : fround(mantissa - 1)
  const square = fround(x * x)
  let y = fround(polynomial(LOG, x) * x)
  y = fused(y, square, fround(exponent * LN2_LOW))
  y = fused(square, -0.5, y)
  return fused(exponent, LN2_HIGH, fround(x + y))
}

/** Writes sine and cosine of a float32 angle from 0 to 2 pi to `out`. */
export function sinCos32(angle: number, out: { sin: number, cos: number }): void {
  const octant = (Math.trunc(fround(angle * FOUR_OVER_PI)) + 1) & ~1
  let x = fused(octant, -QUARTER_HIGH, angle)
  x = fused(octant, -QUARTER_MIDDLE, x)
  x = fused(octant, -QUARTER_LOW, x)
  const square = fround(x * x)
  const sine = fused(fround(polynomial(SINE, square) * square), x, x)
  const cosine = fround(fused(fround(polynomial(COSINE, square) * square), square, fround(square * -0.5)) + 1)
  const swapped = (octant & 2) !== 0
  out.sin = (octant & 4) === 0 ? (swapped ? cosine : sine) : -(swapped ? cosine : sine)
  out.cos = ((octant + 2) & 4) === 0 ? (swapped ? sine : cosine) : -(swapped ? sine : cosine)
}

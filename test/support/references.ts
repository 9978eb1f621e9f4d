/** erf by its Maclaurin series (|x| < 3) and the continued fraction of erfc (Lentz), both in double. */
export function erf(x: number): number {
  const z = Math.abs(x)
  if (z < 3) {
    let term = x, sum = x
    for (let n = 1; n < 80; n++) {
      term *= (-x * x) / n
      sum += term / (2 * n + 1)
    }
    return (2 / Math.sqrt(Math.PI)) * sum
  }
  let fraction = 0
  for (let n = 60; n >= 1; n--) fraction = n / 2 / (z + fraction)
  return Math.sign(x) * (1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction))
}

/** The activations in double precision, by the names that kernels and model configurations use. */
export const activations: Record<string, (x: number) => number> = {
  silu: x => x / (1 + Math.exp(-x)),
  quick_gelu: x => x / (1 + Math.exp(-1.702 * x)),
  gelu: x => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  relu: x => Math.max(x, 0),
  soft_clamp: x => 3 * Math.tanh(x / 3),
  from_signed: x => (x + 1) / 2,
  to_signed: x => 2 * x - 1,
}

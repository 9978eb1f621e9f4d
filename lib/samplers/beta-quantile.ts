/**
 * The quantile of a symmetric beta distribution, as the beta noise schedule needs it: Lee et al. 2024 ("Beta Sampling is All You Need"),
 * https://arxiv.org/abs/2407.12173.
 */

/**
 * The integral of u^(a-1) (1-u)^(a-1) from 0 to x, x at most a half: the series of the binomial (1-u)^(a-1), integrated term by term.
 * Half of the terms' size goes with each, so that 60 reach double precision.
 */
function lowerIntegral(x: number, a: number): number {
  let binomial = 1
  let power = 1
  let sum = 0
  for (let n = 0; n < 60; n++) {
    sum += binomial * power / (a + n)
    binomial *= (n + 1 - a) / (n + 1)
    power *= x
  }
  return x ** a * sum
}

/**
 * The x below which a share `probability`, from 0 to 1, of the distribution Beta(a, a) lies; a is above 0 and up to 1. Found by bisection;
 * the normalising constant needs no gamma function, since a symmetric distribution has a half of itself below 1/2.
 */
export function symmetricBetaQuantile(probability: number, a: number): number {
  if (probability > 0.5) return 1 - symmetricBetaQuantile(1 - probability, a)
  const wanted = probability * 2 * lowerIntegral(0.5, a)
  let low = 0
  let high = 0.5
  for (;;) {
    const middle = (low + high) / 2
    if (middle <= low || middle >= high) return middle
    if (lowerIntegral(middle, a) < wanted) low = middle
    else high = middle
  }
}

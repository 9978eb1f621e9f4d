/** Exponential integrators through several earlier outputs: interpolating polynomials, integrated exactly. */

/** Coefficients of Lagrange's polynomial that is 1 at `nodes[j]` and 0 at the others, the constant one first. */
function basis(nodes: readonly number[], j: number): number[] {
  let polynomial = [1]
  nodes.forEach((node, k) => {
    if (k === j) return
    const scale = 1 / (nodes[j]! - node)
    polynomial = [...polynomial, 0].map((_, power) => scale * ((polynomial[power - 1] ?? 0) - node * (polynomial[power] ?? 0)))
  })
  return polynomial
}

/**
 * For each node the integral of its Lagrange polynomial times e^(rate v) over v from `from` to `to`.
 * @param nodes at most a few, all different @param rate not 0
 */
export function exponentialWeights(nodes: readonly number[], rate: number, from: number, to: number): number[] {
  // By parts: the integral of v^k e^(rate v) from that of v^(k-1).
  const moments = [(Math.exp(rate * to) - Math.exp(rate * from)) / rate]
  for (let k = 1; k < nodes.length; k++)
    moments.push((to ** k * Math.exp(rate * to) - from ** k * Math.exp(rate * from) - k * moments[k - 1]!) / rate)
  return nodes.map((_, j) => basis(nodes, j).reduce((sum, coefficient, k) => sum + coefficient * moments[k]!, 0))
}

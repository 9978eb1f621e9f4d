/**
 * The functions of exponential integrators, by their series where differences would cancel: Lu et al. 2022,
 * https://arxiv.org/abs/2211.01095, appendix B.
 */

/** (exp(-h) - 1) / h + 1 */
export function phi2(h: number): number {
  return Math.abs(h) < 1e-3 ? h / 2 - h ** 2 / 6 + h ** 3 / 24 : Math.expm1(-h) / h + 1
}

/** (exp(-h) - 1 + h) / h² - 1/2 */
export function phi3(h: number): number {
  return Math.abs(h) < 1e-3 ? -h / 6 + h ** 2 / 24 - h ** 3 / 120 : (Math.expm1(-h) + h) / h ** 2 - 0.5
}

/**
 * Noise levels of the samplers that integrate over sigma.
 *
 * | code               | paper                                                                                        |
 * | ------------------ | -------------------------------------------------------------------------------------------- |
 * | `sigma`            | sigma: noise over signal, sqrt((1 - alpha-bar) / alpha-bar)                                   |
 * | `alpha`, `noise`   | alpha_t, sigma_t of DPM-Solver (Lu et al. 2022, https://arxiv.org/abs/2206.00927): alpha² + sigma² = 1 |
 * | `lambda`           | lambda_t = log(alpha_t / sigma_t), half the log SNR; here -log(sigma)                         |
 * | `rho`              | rho of Karras et al. 2022, https://arxiv.org/abs/2206.00364, eq. 5                            |
 */
import type { ConfigReader } from './config'
import { roundHalfEven } from './timesteps'

/** Noise level of every training timestep, least noise first, in float32. */
export function trainingSigmas(alphasCumprod: Float32Array): Float32Array {
  return alphasCumprod.map(product => Math.sqrt((1 - product) / product))
}

/** Splits a noise level into signal and noise amplitudes of a sample of unit variance. */
export function amplitudes(sigma: number): { alpha: number, noise: number } {
  const alpha = 1 / Math.sqrt(sigma * sigma + 1)
  return { alpha, noise: sigma * alpha }
}

/** `table` at a fractional index, linear between entries and constant beyond them. */
export function interpolate(table: ArrayLike<number>, index: number): number {
  if (index <= 0) return table[0]
  if (index >= table.length - 1) return table[table.length - 1]
  const below = Math.floor(index)
  return table[below] + (table[below + 1] - table[below]) * (index - below)
}

/** The fractional training timestep of a noise level, linear in log sigma between the timesteps, within their range. */
export function timestepOfSigma(sigma: number, logSigmas: ArrayLike<number>): number {
  const logSigma = Math.log(Math.max(sigma, 1e-10))
  let low = 0
  let high = logSigmas.length - 1
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (logSigmas[middle] <= logSigma) low = middle
    else high = middle
  }
  const weight = Math.min(Math.max((logSigmas[low] - logSigma) / (logSigmas[low] - logSigmas[high]), 0), 1)
  return (1 - weight) * low + weight * high
}

/** How noise levels are chosen: at the timesteps, or by a rule of their own from which the timesteps follow. */
export type SigmaRule = 'timesteps' | 'karras' | 'exponential' | 'lu'

/** Reads the `use_..._sigmas` switches, of which one may be on. @throws AsdmError `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
export function readSigmaRule(reader: ConfigReader, withLu: boolean): SigmaRule {
  const rules: SigmaRule[] = []
  if (reader.flag('use_karras_sigmas', false)) rules.push('karras')
  if (reader.flag('use_exponential_sigmas', false)) rules.push('exponential')
  if (withLu && reader.flag('use_lu_lambdas', false)) rules.push('lu')
  if (rules.length > 1) throw reader.bad('use_karras_sigmas, use_exponential_sigmas and use_lu_lambdas', 'true for one at most', rules)
  return rules[0] ?? 'timesteps'
}

/** Ends of the Karras and exponential noise levels, where they are not those of training. */
export interface SigmaRange {
  sigmaMin: number | null
  sigmaMax: number | null
}

/** Reads {@link SigmaRange}. @throws AsdmError `BAD_CONFIG` */
export function readSigmaRange(reader: ConfigReader): SigmaRange {
  const sigmaMin = reader.number('sigma_min', null, 1e-6, 1e6)
  const sigmaMax = reader.number('sigma_max', null, 1e-6, 1e6)
  if (sigmaMin !== null && sigmaMax !== null && sigmaMin >= sigmaMax)
    throw reader.bad('sigma_min', `below sigma_max (${sigmaMax})`, sigmaMin)
  return { sigmaMin, sigmaMax }
}

/** Where a run ends: without noise, or at the least noise of training. */
export type FinalSigma = 'zero' | 'sigma_min'

export const finalSigmas: readonly FinalSigma[] = ['zero', 'sigma_min']

/** Noise levels from `sigmaMax` down to `sigmaMin`, by a rule other than `timesteps`. */
export function ruledSigmas(rule: Exclude<SigmaRule, 'timesteps'>, sigmaMin: number, sigmaMax: number, steps: number): number[] {
  // One step alone sits at the noisy end.
  const ramp = (i: number): number => (steps === 1 ? 0 : i / (steps - 1))
  if (rule === 'karras') {
    const rho = 7
    const least = sigmaMin ** (1 / rho)
    const most = sigmaMax ** (1 / rho)
    return Array.from({ length: steps }, (_, i) => (most + ramp(i) * (least - most)) ** rho)
  }
  // Lu's uniform steps in lambda and exponentially spaced sigmas are the same levels; they differ in how timesteps are rounded.
  const least = Math.log(sigmaMin)
  const most = Math.log(sigmaMax)
  return Array.from({ length: steps }, (_, i) => Math.exp(most + ramp(i) * (least - most)))
}

/** A timestep between integers, made one: rounded, or cut off where the reference forgets to round. */
export function integerTimestep(timestep: number, rounding: 'round' | 'truncate'): number {
  return rounding === 'round' ? roundHalfEven(timestep) : Math.trunc(timestep)
}

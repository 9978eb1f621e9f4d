/**
 * Noise levels of the samplers that integrate over sigma.
 *
 * | code               | paper                                                                                        |
 * | ------------------ | -------------------------------------------------------------------------------------------- |
 * | `sigma`            | sigma: noise over signal, sqrt((1 - alpha-bar) / alpha-bar)                                   |
 * | `alpha`, `noise`   | alpha_t, sigma_t of DPM-Solver (Lu et al. 2022, https://arxiv.org/abs/2206.00927): alpha² + sigma² = 1 |
 * | `lambda`           | lambda_t = log(alpha_t / sigma_t), half the log SNR; here -log(sigma)                         |
 * | `rho`              | rho of Karras et al. 2022, https://arxiv.org/abs/2206.00364, eq. 5                            |
 * | `up`, `down`       | sigma_up, sigma_down of k-diffusion's ancestral steps: fresh noise, and where the step without it ends |
 */
import { symmetricBetaQuantile } from './beta-quantile'
import type { ConfigReader } from './config'
import type { SigmaScheduleName } from './names'
import { roundHalfEven } from './timesteps'

const f32 = Math.fround

/** Noise level of every training timestep, least noise first, in float32 operation by operation, as the reference. */
export function trainingSigmas(alphasCumprod: Float32Array): Float32Array {
  return alphasCumprod.map(product => Math.sqrt(f32(f32(1 - product) / product)))
}

/**
 * An ancestral step from `sigma` to `next`, as k-diffusion splits it: down below the next level, then fresh noise up to it. The split is
 * DDPM's posterior variance (Ho et al. 2020, https://arxiv.org/abs/2006.11239, eq. 7) written for x_0 + sigma n: up² + down² = next², and
 * `next` lies halfway between `sigma` and `down` in log sigma.
 */
export function ancestralStep(sigma: number, next: number): { up: number, down: number } {
  return { up: next * Math.sqrt(Math.max(1 - (next / sigma) ** 2, 0)), down: next ** 2 / sigma }
}

/** Splits a noise level into signal and noise amplitudes of a sample of unit variance. */
export function amplitudes(sigma: number): { alpha: number, noise: number } {
  const alpha = 1 / Math.sqrt(sigma * sigma + 1)
  return { alpha, noise: sigma * alpha }
}

/** `table` at a fractional index, linear between entries and constant beyond them. */
export function interpolate(table: ArrayLike<number>, index: number): number {
  if (index <= 0) return table[0]!
  if (index >= table.length - 1) return table[table.length - 1]!
  const below = Math.floor(index)
  return table[below]! + (table[below + 1]! - table[below]!) * (index - below)
}

/** The fractional training timestep of a noise level, linear in log sigma between the timesteps, within their range. */
export function timestepOfSigma(sigma: number, logSigmas: ArrayLike<number>): number {
  const logSigma = Math.log(Math.max(sigma, 1e-10))
  let low = 0
  let high = logSigmas.length - 1
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (logSigmas[middle]! <= logSigma) low = middle
    else high = middle
  }
  const weight = Math.min(Math.max((logSigmas[low]! - logSigma) / (logSigmas[low]! - logSigmas[high]!), 0), 1)
  return (1 - weight) * low + weight * high
}

/** How noise levels are chosen: at the timesteps, or by a rule of their own from which the timesteps follow. */
export type SigmaRule = 'timesteps' | 'lu' | SigmaScheduleName

/** The switches of scheduler configs, of which one may be on; the last two are asdm's own, in diffusers' manner. */
const switches = {
  'karras': 'use_karras_sigmas',
  'exponential': 'use_exponential_sigmas',
  'beta': 'use_beta_sigmas',
  'sgm-uniform': 'use_sgm_uniform_sigmas',
  'align-your-steps': 'use_align_your_steps_sigmas',
} as const satisfies Record<SigmaScheduleName, string>

/** The switches set for one rule, `timesteps` for none: what a sampler's name settles of a config. */
export function sigmaSwitches(rule: 'timesteps' | SigmaScheduleName): Record<string, boolean> {
  return Object.fromEntries(Object.entries(switches).map(([each, option]) => [option, each === rule]))
}

/** Reads the `use_..._sigmas` switches. @throws AsdmError `BAD_CONFIG` */
export function readSigmaRule(reader: ConfigReader, withLu: boolean): SigmaRule {
  const rules: SigmaRule[] = []
  for (const [rule, option] of Object.entries(switches)) if (reader.flag(option, false)) rules.push(rule as SigmaScheduleName)
  if (withLu && reader.flag('use_lu_lambdas', false)) rules.push('lu')
  if (rules.length > 1)
    throw reader.bad(`${Object.values(switches).join(', ')}${withLu ? ', use_lu_lambdas' : ''}`, 'true for one at most', rules)
  return rules[0] ?? 'timesteps'
}

/** Is the rule none of diffusers'? Its timesteps stay between integers then, as in the programs that have it. */
export function isForeign(rule: SigmaRule): boolean {
  return rule === 'sgm-uniform' || rule === 'align-your-steps'
}

/** The end of a sampler's name that says its rule. */
export function ruleSuffix(rule: SigmaRule): string {
  return rule === 'timesteps' || rule === 'lu' ? '' : `-${rule}`
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

/**
 * Align Your Steps (Sabour et al. 2024, https://arxiv.org/abs/2404.14507): the published levels of ten steps of Stable Diffusion 1.5, and
 * where the last one ends; other numbers of steps take them linearly in log sigma between these.
 */
const alignedLevels = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029].map(Math.log)

/**
 * Noise levels from `sigmaMax` down to `sigmaMin`, by a rule other than `timesteps`.
 * @param logSigmas of the training timesteps
 */
export function ruledSigmas(
  rule: Exclude<SigmaRule, 'timesteps'>, sigmaMin: number, sigmaMax: number, steps: number, logSigmas: ArrayLike<number>,
): number[] {
  // One step alone sits at the noisy end.
  const ramp = (i: number): number => (steps === 1 ? 0 : i / (steps - 1))
  const levels = (level: (i: number) => number): number[] => Array.from({ length: steps }, (_, i) => level(i))
  switch (rule) {
    case 'karras': {
      const rho = 7
      const least = sigmaMin ** (1 / rho)
      const most = sigmaMax ** (1 / rho)
      return levels(i => (most + ramp(i) * (least - most)) ** rho)
    }
    // Lu's uniform steps in lambda and exponentially spaced sigmas are the same levels; they differ in how timesteps are rounded.
    case 'lu': case 'exponential': {
      const least = Math.log(sigmaMin)
      const most = Math.log(sigmaMax)
      return levels(i => Math.exp(most + ramp(i) * (least - most)))
    }
    case 'beta': return levels(i => sigmaMin + symmetricBetaQuantile(1 - ramp(i), 0.6) * (sigmaMax - sigmaMin))
    // Stability's generative models: evenly spaced timesteps, one more than steps, of which the last is left out.
    case 'sgm-uniform': {
      const first = timestepOfSigma(sigmaMax, logSigmas)
      const last = timestepOfSigma(sigmaMin, logSigmas)
      return levels(i => Math.exp(interpolate(logSigmas, first + i / steps * (last - first))))
    }
    case 'align-your-steps': return levels(i => Math.exp(interpolate(alignedLevels, i / steps * (alignedLevels.length - 1))))
  }
}

/** A timestep between integers, made one: rounded, or cut off where the reference forgets to round. */
export function integerTimestep(timestep: number, rounding: 'round' | 'truncate'): number {
  return rounding === 'round' ? roundHalfEven(timestep) : Math.trunc(timestep)
}

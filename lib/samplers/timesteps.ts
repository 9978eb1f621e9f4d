/**
 * Which training timesteps a run visits: Lin et al. 2023, https://arxiv.org/abs/2305.08891, table 2 ("leading", "trailing", "linspace").
 */
import { AsdmError } from '../base/errors'

export type TimestepSpacing = 'leading' | 'trailing' | 'linspace'

export const timestepSpacings: readonly TimestepSpacing[] = ['leading', 'trailing', 'linspace']

/** Rounds to the nearest integer, halves to the even one, as NumPy does. */
export function roundHalfEven(value: number): number {
  const below = Math.floor(value)
  const rest = value - below
  return rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1
}

interface SpacingOptions {
  spacing: TimestepSpacing
  steps: number
  /** Number of training timesteps. */
  trainTimesteps: number
  /** Added to every timestep of the leading spacing. */
  stepsOffset: number
  /** Where the run starts, if it leaves out the noisiest timesteps; `trainTimesteps` where it does not. */
  last?: number | undefined
  /** Spread steps + 1 timesteps and leave out the least noisy one, as the solvers do that end at a noise level of their own. */
  dropLast?: boolean | undefined
  /** Leave linspace's timesteps between integers, rounded to float32. */
  fractional?: boolean | undefined
}

/** The timesteps of a run, noisiest first. */
export function spacedTimesteps(options: SpacingOptions): number[] {
  const { spacing, steps, trainTimesteps, stepsOffset, last = trainTimesteps, dropLast = false, fractional = false } = options
  const timesteps: number[] = []
  const count = steps + (dropLast ? 1 : 0)
  const first = dropLast ? 1 : 0
  switch (spacing) {
    case 'linspace': {
      const width = (last - 1) / (count - 1)
      for (let i = count - 1; i >= first; i--) {
        const timestep = i === 0 ? 0 : i === count - 1 ? last - 1 : i * width
        timesteps.push(fractional ? Math.fround(timestep) : roundHalfEven(timestep))
      }
      return timesteps
    }
    case 'leading': {
      const width = Math.floor(last / count)
      for (let i = count - 1; i >= first; i--) timesteps.push(i * width + stepsOffset)
      return timesteps
    }
    case 'trailing': {
      // Rounding can leave a sliver above 0 after the last step; it is no timestep.
      const width = trainTimesteps / steps
      for (let i = 0; i < steps; i++) {
        const timestep = roundHalfEven(last - i * width) - 1
        if (timestep < 0) break
        timesteps.push(timestep)
      }
      return timesteps
    }
  }
}

/**
 * The timesteps of samplers for distilled networks, noisiest first: evenly chosen among the `originalSteps` of the distillation.
 * @throws AsdmError `INVALID_ARGUMENT` for more steps than the distillation had
 */
export function distilledTimesteps(steps: number, originalSteps: number, trainTimesteps: number, name: string): number[] {
  if (steps > originalSteps)
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected at most ${originalSteps} steps for ${name} (original_inference_steps) but received ${steps}`)
  const stride = Math.floor(trainTimesteps / originalSteps)
  return Array.from({ length: steps }, (_, i) => (originalSteps - Math.floor(i * (originalSteps / steps))) * stride - 1)
}

/**
 * How many of the first steps img2img leaves out: `strength` 1 leaves out none, 0.6 of 10 steps leaves out 4.
 * Truncates like diffusers' `get_timesteps`, with the same floating-point product.
 */
export function skippedSteps(steps: number, strength: number): number {
  return Math.max(steps - Math.min(Math.trunc(steps * strength), steps), 0)
}

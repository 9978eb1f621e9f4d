/**
 * Ancestral sampling with Euler steps, as k-diffusion has it: step down below the next noise level (`down`), then add noise up to it
 * (`up`).
 */
import type { Tensor } from '../base/tensor'
import { combine } from './arithmetic'
import { checkConfig, parseConfig, type SchedulerConfig } from './config'
import { readCommon, type StepInput } from './sampler'
import { ancestralStep } from './sigmas'
import { readKDiffusionOptions, UnscaledSampler } from './unscaled'

/** The class name of the form that chooses its noise levels, which diffusers has not. */
export const kDiffusionEulerAncestral = 'sample_euler_ancestral'

/**
 * Euler ancestral (diffusers: `EulerAncestralDiscreteScheduler`; k-diffusion: `sample_euler_ancestral`, by which class name it also takes
 * the switches for noise levels). Draws noise at every step. Steps may be called in any order.
 */
export class EulerAncestralSampler extends UnscaledSampler {
  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(checkConfig(config)._class_name === kDiffusionEulerAncestral
      ? parseConfig(kDiffusionEulerAncestral, config, readKDiffusionOptions)
      : parseConfig('EulerAncestralDiscreteScheduler', config, reader => ({
          ...readCommon(reader, { spacing: 'linspace', zeroSnr: 'floor' }),
          rule: 'timesteps', sigmaMin: null, sigmaMax: null, finalSigma: 'zero',
        })))
  }

  get name(): string { return `euler-ancestral${this.suffix}` }
  override get stochastic(): boolean { return true }

  /** diffusers draws at the last step too, where the noise has no share; k-diffusion does not. */
  protected override draws(index: number): boolean {
    return !this.options.logInterpolation || index < this.course.timesteps.length - 1
  }

  protected override advance(input: StepInput): Tensor {
    const { up, down } = ancestralStep(this.course.sigmas![input.index]!, this.course.sigmas![input.index + 1]!)
    const drift = this.drift(input, down)
    return input.noise === undefined ? combine(...drift) : combine(...drift, [up, input.noise])
  }
}

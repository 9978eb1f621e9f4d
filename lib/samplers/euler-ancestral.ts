/**
 * Ancestral sampling with Euler steps, as k-diffusion has it: step down below the next noise level, then add noise up to it. The split is
 * DDPM's posterior variance (Ho et al. 2020, https://arxiv.org/abs/2006.11239, eq. 7) written for x_0 + sigma n.
 *
 * | code    | meaning                                                                  |
 * | ------- | ------------------------------------------------------------------------ |
 * | `sigma` | sigma_from                                                               |
 * | `next`  | sigma_to                                                                 |
 * | `up`    | sigma_up: standard deviation of the fresh noise                          |
 * | `down`  | sigma_down = sqrt(sigma_to² - sigma_up²): where the Euler step ends      |
 */
import type { Tensor } from '../base/tensor'
import { combine } from './arithmetic'
import { parseConfig, type SchedulerConfig } from './config'
import { UnscaledSampler } from './euler'
import { readCommon, type StepInput } from './sampler'

/** Euler ancestral (diffusers: `EulerAncestralDiscreteScheduler`). Draws noise at every step. Steps may be called in any order. */
export class EulerAncestralSampler extends UnscaledSampler {
  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('EulerAncestralDiscreteScheduler', config, reader => ({
      ...readCommon(reader, { spacing: 'linspace', zeroSnr: 'floor' }),
      rule: 'timesteps', sigmaMin: null, sigmaMax: null, finalSigma: 'zero',
    })))
  }

  get name(): string { return 'euler-ancestral' }
  override get stochastic(): boolean { return true }

  protected override advance(input: StepInput): Tensor {
    const sigma = this.course.sigmas![input.index]
    const next = this.course.sigmas![input.index + 1]
    const up = Math.sqrt(Math.max(next ** 2 * (sigma ** 2 - next ** 2) / sigma ** 2, 0))
    const down = Math.sqrt(Math.max(next ** 2 - up ** 2, 0))
    return combine(...this.drift(input, down), [up, input.noise!])
  }
}

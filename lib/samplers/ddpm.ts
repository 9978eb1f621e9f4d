/**
 * Denoising diffusion probabilistic models: Ho et al. 2020, https://arxiv.org/abs/2006.11239, algorithm 2 with eq. 6, 7 and 15, over any
 * subsequence of the timesteps.
 *
 * | code               | paper                                                                |
 * | ------------------ | -------------------------------------------------------------------- |
 * | `product`          | alpha-bar_t                                                          |
 * | `previousProduct`  | alpha-bar_{t-1}, of the next timestep of the run                     |
 * | `stepAlpha`        | alpha_t = alpha-bar_t / alpha-bar_{t-1}                              |
 * | `stepBeta`         | beta_t = 1 - alpha_t                                                 |
 * | `posterior`        | beta-tilde_t (eq. 7), the variance if `fixed_small`                  |
 * | `deviation`        | sigma_t                                                              |
 */
import type { Tensor } from '../base/tensor'
import { combine } from './arithmetic'
import { parseConfig, type SchedulerConfig } from './config'
import { limit, readLimits, toOriginal, type Limits } from './prediction'
import { readCommon, Sampler, type CommonOptions, type Course, type StepInput } from './sampler'
import { spacedTimesteps } from './timesteps'

type VarianceType = 'fixed_small' | 'fixed_small_log' | 'fixed_large'

interface DDPMOptions extends CommonOptions {
  limits: Limits
  varianceType: VarianceType
}

/** DDPM, ancestral sampling (diffusers: `DDPMScheduler`). Steps may be called in any order. */
export class DDPMSampler extends Sampler<DDPMOptions> {
  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('DDPMScheduler', config, reader => ({
      ...readCommon(reader, { spacing: 'leading', zeroSnr: 'exact' }),
      limits: readLimits(reader, true),
      // The logarithm of fixed_small_log is taken back before use, so it is fixed_small.
      varianceType: reader.choice<VarianceType>('variance_type', 'fixed_small', ['fixed_small', 'fixed_small_log', 'fixed_large']),
    })))
  }

  get name(): string { return 'ddpm' }
  override get stochastic(): boolean { return true }

  protected override lay(steps: number): Course {
    const timesteps = spacedTimesteps({ ...this.options, steps })
    this.checkTrained(timesteps, steps)
    return { timesteps }
  }

  /** All but timestep 0, which only linspace and an offset of 0 end at. */
  protected override draws(index: number): boolean { return this.course.timesteps[index]! > 0 }

  protected override advance({ output, sample, index, timestep, noise }: StepInput): Tensor {
    const { predictionType, limits, varianceType } = this.options
    const next = this.course.timesteps[index + 1]
    const product = this.alphasCumprod[timestep]!
    const previousProduct = next === undefined ? 1 : this.alphasCumprod[next]!
    const stepAlpha = product / previousProduct
    const stepBeta = 1 - stepAlpha

    const original = limit(toOriginal(predictionType, output, sample, Math.sqrt(product), Math.sqrt(1 - product)), limits)
    const mean = [
      [Math.sqrt(previousProduct) * stepBeta / (1 - product), original],
      [Math.sqrt(stepAlpha) * (1 - previousProduct) / (1 - product), sample],
    ] as const
    if (noise === undefined) return combine(...mean)
    const posterior = Math.max((1 - previousProduct) / (1 - product) * stepBeta, 1e-20)
    const deviation = Math.sqrt(varianceType === 'fixed_large' ? stepBeta : posterior)
    return combine(...mean, [deviation, noise])
  }
}

/**
 * Denoising diffusion implicit models: Song et al. 2020, https://arxiv.org/abs/2010.02502, eq. 12 and 16.
 *
 * | code                 | paper                                                        |
 * | -------------------- | ------------------------------------------------------------ |
 * | `product`            | alpha_t (the paper's alpha is the cumulated product)          |
 * | `previousProduct`    | alpha_{t-1}                                                   |
 * | `eta`, `deviation`   | eta, sigma_t(eta) (eq. 16)                                    |
 * | `original`           | "predicted x_0" (eq. 9)                                       |
 * | `epsilon`            | epsilon_theta(x_t)                                            |
 * | `direction`          | factor of epsilon in "direction pointing to x_t"              |
 */
import type { Tensor } from '../base/tensor'
import { combine } from './arithmetic'
import { parseConfig, type SchedulerConfig } from './config'
import { limit, readLimits, toEpsilon, toOriginal, type Limits } from './prediction'
import { readCommon, Sampler, type CommonOptions, type Course, type StepInput } from './sampler'
import { spacedTimesteps } from './timesteps'

interface DDIMOptions extends CommonOptions {
  limits: Limits
  setAlphaToOne: boolean
}

/** DDIM, deterministic unless `eta` is above 0 (diffusers: `DDIMScheduler`). Steps may be called in any order. */
export class DDIMSampler extends Sampler<DDIMOptions> {
  #stride = 0

  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('DDIMScheduler', config, reader => ({
      ...readCommon(reader, { spacing: 'leading', zeroSnr: 'exact' }),
      limits: readLimits(reader, true),
      setAlphaToOne: reader.flag('set_alpha_to_one', true),
    })))
  }

  get name(): string { return 'ddim' }

  protected override lay(steps: number): Course {
    const timesteps = spacedTimesteps({ ...this.options, steps })
    this.checkTrained(timesteps, steps)
    this.#stride = Math.floor(this.options.trainTimesteps / steps)
    return { timesteps }
  }

  protected override draws(_index: number, eta: number): boolean { return eta > 0 }

  protected override advance({ output, sample, timestep, noise, eta }: StepInput): Tensor {
    const { predictionType, limits, setAlphaToOne } = this.options
    const previousTimestep = timestep - this.#stride
    const product = this.alphasCumprod[timestep]!
    const previousProduct = previousTimestep >= 0 ? this.alphasCumprod[previousTimestep]! : setAlphaToOne ? 1 : this.alphasCumprod[0]!
    const alpha = Math.sqrt(product)
    const sigma = Math.sqrt(1 - product)

    const epsilon = toEpsilon(predictionType, output, sample, alpha, sigma)
    const original = limit(toOriginal(predictionType, output, sample, alpha, sigma), limits)
    const deviation = eta * Math.sqrt(Math.max((1 - previousProduct) / (1 - product) * (1 - product / previousProduct), 0))
    // Rounding may push the rest just below 0 when eta is 1.
    const direction = Math.sqrt(Math.max(1 - previousProduct - deviation ** 2, 0))
    const mean = [[Math.sqrt(previousProduct), original], [direction, epsilon]] as const
    return noise === undefined ? combine(...mean) : combine(...mean, [deviation, noise])
  }
}

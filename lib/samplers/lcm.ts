/**
 * Latent consistency models: Luo et al. 2023, https://arxiv.org/abs/2310.04378, algorithm 3 (multistep sampling).
 *
 * | code                  | paper                                                                    |
 * | --------------------- | ------------------------------------------------------------------------ |
 * | `original`            | the clean sample f_theta predicts before the boundary condition           |
 * | `skip`, `out`         | c_skip(t), c_out(t): the boundary condition                               |
 * | `scaled`              | t times `timestep_scaling`                                                |
 * | `sigmaData`           | sigma_data = 0.5                                                          |
 */
import type { Tensor } from '../base/tensor'
import { combine } from './arithmetic'
import { parseConfig, type SchedulerConfig } from './config'
import { limit, readLimits, toOriginal, type Limits } from './prediction'
import { readCommon, Sampler, type CommonOptions, type Course, type StepInput } from './sampler'
import { distilledTimesteps } from './timesteps'

interface LCMOptions extends CommonOptions {
  limits: Limits
  originalSteps: number
  timestepScaling: number
}

const sigmaData = 0.5

/**
 * LCM (diffusers: `LCMScheduler`), for networks distilled for it. Draws noise at every step but the last. Steps may be called in any order.
 */
export class LCMSampler extends Sampler<LCMOptions> {
  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('LCMScheduler', config, reader => {
      const common = readCommon(reader, {
        betaStart: 0.00085, betaEnd: 0.012, betaSchedule: 'scaled_linear', spacing: 'leading', zeroSnr: 'exact',
      })
      // The last step ends at the clean sample itself, so the alpha after it is never asked for.
      reader.flag('set_alpha_to_one', true)
      return {
        ...common,
        limits: readLimits(reader, false),
        originalSteps: reader.integer('original_inference_steps', Math.min(50, common.trainTimesteps), 1, common.trainTimesteps),
        timestepScaling: reader.number('timestep_scaling', 10, 1e-6, 1e6),
      }
    }))
  }

  get name(): string { return 'lcm' }
  override get stochastic(): boolean { return true }

  /** Evenly chosen among the timesteps of the distillation, whatever the spacing. */
  protected override lay(steps: number): Course {
    const { originalSteps, trainTimesteps } = this.options
    const timesteps = distilledTimesteps(steps, originalSteps, trainTimesteps, this.name)
    this.checkTrained(timesteps, steps)
    return { timesteps }
  }

  protected override draws(index: number): boolean { return index < this.course.timesteps.length - 1 }

  protected override advance({ output, sample, index, timestep, noise }: StepInput): Tensor {
    const { predictionType, limits, timestepScaling } = this.options
    const product = this.alphasCumprod[timestep]!
    const original = limit(toOriginal(predictionType, output, sample, Math.sqrt(product), Math.sqrt(1 - product)), limits)
    const scaled = timestep * timestepScaling
    const skip = sigmaData ** 2 / (scaled ** 2 + sigmaData ** 2)
    const out = scaled / Math.sqrt(scaled ** 2 + sigmaData ** 2)
    if (noise === undefined) return combine([out, original], [skip, sample])
    const previousProduct = this.alphasCumprod[this.course.timesteps[index + 1]!]!
    const signal = Math.sqrt(previousProduct)
    return combine([signal * out, original], [signal * skip, sample], [Math.sqrt(1 - previousProduct), noise])
  }
}

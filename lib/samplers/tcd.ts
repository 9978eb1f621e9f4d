/**
 * Trajectory consistency distillation, strategic stochastic sampling: Zheng et al. 2024, https://arxiv.org/abs/2402.19159, algorithm 4.
 *
 * | code               | paper                                                                  |
 * | ------------------ | ---------------------------------------------------------------------- |
 * | `eta`              | gamma: the share of each step that goes back up as noise                |
 * | `between`          | s' = (1 - gamma) t_{n-1}: where the consistency function lands           |
 * | `product`, ...     | alpha-bar at t_n, at s', at t_{n-1}                                      |
 */
import type { Tensor } from '../base/tensor'
import { combine } from './arithmetic'
import { parseConfig, type SchedulerConfig } from './config'
import { readLimits, toEpsilon, toOriginal } from './prediction'
import { readCommon, Sampler, type CommonOptions, type Course, type StepInput } from './sampler'
import { distilledTimesteps } from './timesteps'

interface TCDOptions extends CommonOptions {
  originalSteps: number
}

/**
 * TCD (diffusers: `TCDScheduler`), for networks and LoRAs distilled for it (also Hyper-SD's). Deterministic with `eta` 0; the authors take
 * 0.3. Draws noise at every step but the last. Steps may be called in any order.
 */
export class TCDSampler extends Sampler<TCDOptions> {
  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('TCDScheduler', config, reader => {
      const common = readCommon(reader, {
        betaStart: 0.00085, betaEnd: 0.012, betaSchedule: 'scaled_linear', spacing: 'leading', zeroSnr: 'exact',
      })
      // The reference has these options and its step does not look at them.
      reader.flag('set_alpha_to_one', true)
      reader.number('timestep_scaling', 10, 1e-6, 1e6)
      readLimits(reader, false)
      const most = common.trainTimesteps
      return { ...common, originalSteps: reader.integer('original_inference_steps', Math.min(50, most), 1, most) }
    }))
  }

  get name(): string { return 'tcd' }

  /** Evenly chosen among the timesteps of the distillation, whatever the spacing. */
  protected override lay(steps: number): Course {
    const { originalSteps, trainTimesteps } = this.options
    const timesteps = distilledTimesteps(steps, originalSteps, trainTimesteps, this.name)
    this.checkTrained(timesteps, steps)
    return { timesteps }
  }

  protected override draws(index: number, eta: number): boolean { return eta > 0 && index < this.course.timesteps.length - 1 }

  protected override advance({ output, sample, index, timestep, noise, eta }: StepInput): Tensor {
    const { predictionType } = this.options
    const previous = this.course.timesteps[index + 1] ?? 0
    const between = Math.floor(Math.fround(Math.fround(1 - eta) * previous))
    const productOf = (each: number): number => this.alphasCumprod[each]!
    const [product, betweenProduct, previousProduct] = [productOf(timestep), productOf(between), productOf(previous)]
    const [alpha, sigma] = [Math.sqrt(product), Math.sqrt(1 - product)]
    const original = toOriginal(predictionType, output, sample, alpha, sigma)
    const epsilon = toEpsilon(predictionType, output, sample, alpha, sigma)
    const [signal, amount] = [Math.sqrt(betweenProduct), Math.sqrt(1 - betweenProduct)]
    if (noise === undefined) return combine([signal, original], [amount, epsilon])
    const kept = previousProduct / betweenProduct
    return combine([Math.sqrt(kept) * signal, original], [Math.sqrt(kept) * amount, epsilon], [Math.sqrt(1 - kept), noise])
  }
}

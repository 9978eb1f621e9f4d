/**
 * DPM-Solver-2 over sigma, as k-diffusion has it: a midpoint method whose middle lies halfway in log sigma. After Lu et al. 2022,
 * https://arxiv.org/abs/2206.00927, algorithm 1, and Karras et al. 2022, https://arxiv.org/abs/2206.00364, algorithm 2.
 *
 * | code                 | k-diffusion                                                           |
 * | -------------------- | --------------------------------------------------------------------- |
 * | `middle`             | sigma_mid                                                             |
 * | `reach`              | dt_2 over sigma_mid: what the middle's derivative is multiplied by      |
 * | `up`, `down`         | sigma_up, sigma_down                                                  |
 */
import type { Tensor } from '../base/tensor'
import { combine } from './arithmetic'
import { parseConfig, type SchedulerConfig } from './config'
import type { StepInput } from './sampler'
import { ancestralStep } from './sigmas'
import { TwoStageSampler, type FirstStage } from './two-stage'
import { readSigmaOptions } from './unscaled'

const defaults = { betaStart: 0.00085, betaEnd: 0.012, zeroSnr: 'none' } as const

/** DPM2 (diffusers: `KDPM2DiscreteScheduler`). Runs the network twice a step; remembers the first run, so steps run in order. */
export class DPM2Sampler extends TwoStageSampler {
  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('KDPM2DiscreteScheduler', config, reader => readSigmaOptions(reader, defaults)))
  }

  get name(): string { return `dpm2${this.suffix}` }

  protected override get wholeTimesteps(): boolean { return this.options.rule === 'karras' }
  protected override middle(sigma: number, next: number): number { return Math.sqrt(sigma * next) }

  protected override finish({ sample, index }: StepInput, { sample: start, sigma, next }: FirstStage, original: Tensor): Tensor {
    const reach = (next - sigma) / this.course.sigmas![index]!
    return combine([1, start], [reach, sample], [-reach, original])
  }
}

/**
 * DPM2 ancestral (diffusers: `KDPM2AncestralDiscreteScheduler`): steps down below the next level, then adds noise up to it. Runs the
 * network twice a step and draws noise after the second run; steps run in order.
 */
export class DPM2AncestralSampler extends TwoStageSampler {
  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('KDPM2AncestralDiscreteScheduler', config, reader => readSigmaOptions(reader, defaults)))
  }

  get name(): string { return `dpm2-ancestral${this.suffix}` }
  override get stochastic(): boolean { return true }

  protected override draws(index: number): boolean { return index % 2 === 1 }
  protected override get wholeTimesteps(): boolean { return this.options.rule === 'karras' }
  /** Halfway to where the step without its noise ends, which is the next level. */
  protected override middle(_sigma: number, next: number): number { return next }

  protected override finish({ sample, index, noise }: StepInput, { sample: start, sigma, next }: FirstStage, original: Tensor): Tensor {
    const { up, down } = ancestralStep(sigma, next)
    const reach = (down - sigma) / this.course.sigmas![index]!
    return combine([1, start], [reach, sample], [-reach, original], [up, noise!])
  }
}

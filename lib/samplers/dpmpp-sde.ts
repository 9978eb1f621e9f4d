/**
 * DPM-Solver++ (SDE), single-step, as k-diffusion has it: both halves of a step are ancestral, and their noise is of one Brownian motion
 * over sigma. After Lu et al. 2022, https://arxiv.org/abs/2211.01095, algorithm 1 with r = 1/2.
 *
 * | code         | k-diffusion                                                                    |
 * | ------------ | ------------------------------------------------------------------------------ |
 * | `middle`     | sigma_fn(s), halfway in lambda                                                  |
 * | `ratio`      | sigma_down over sigma, which is e^-h: 1 - `ratio` stands before the clean sample |
 * | `up`, `down` | su, sd                                                                          |
 */
import type { Tensor } from '../base/tensor'
import { BrownianTree } from '../random/brownian-tree'
import { combine } from './arithmetic'
import { parseConfig, type SchedulerConfig } from './config'
import type { StepInput } from './sampler'
import { ancestralStep } from './sigmas'
import { TwoStageSampler, type FirstStage } from './two-stage'
import { readSigmaOptions, type SigmaOptions } from './unscaled'

interface DPMSolverSDEOptions extends SigmaOptions {
  seed: number | null
}

const f32 = Math.fround

/**
 * DPM++ SDE (diffusers: `DPMSolverSDEScheduler`). Runs the network twice a step; steps run in order. With `noise_sampler_seed` the noise is
 * that of torchsde's Brownian tree, as in diffusers. Without it, where diffusers takes a random seed, each run but the last draws noise:
 * the first half's own, and for the second half the rest of the Brownian motion, which gives the same distribution.
 */
export class DPMSolverSDESampler extends TwoStageSampler<DPMSolverSDEOptions> {
  #tree: BrownianTree | undefined

  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('DPMSolverSDEScheduler', config, reader => ({
      ...readSigmaOptions(reader, { betaStart: 0.00085, betaEnd: 0.012, zeroSnr: 'none' }),
      seed: reader.integer('noise_sampler_seed', null, 0, Number.MAX_SAFE_INTEGER),
    })))
  }

  get name(): string { return `dpmpp-sde${this.suffix}` }
  override get stochastic(): boolean { return true }

  protected override draws(index: number): boolean {
    return this.options.seed === null && index < this.course.timesteps.length - 1
  }

  protected override forget(): void {
    super.forget()
    this.#tree = undefined
  }

  protected override middle(sigma: number, next: number): number { return Math.sqrt(sigma * next) }

  protected override begin({ sample, index, noise }: StepInput, original: Tensor, middle: number, next: number): Tensor {
    const sigma = this.course.sigmas![index]!
    return this.#move(sample, original, sigma, middle, noise ?? this.#increment(sample.shape, sigma, next, 0.5))
  }

  protected override finish({ sample: { shape }, index, noise }: StepInput, first: FirstStage, original: Tensor): Tensor {
    const { sample, sigma, next } = first
    const middle = this.course.sigmas![index]!
    const whole = noise === undefined
      ? this.#increment(shape, sigma, next, 1)
      : combine([Math.sqrt((sigma - middle) / (sigma - next)), first.noise!], [Math.sqrt((middle - next) / (sigma - next)), noise])
    return this.#move(sample, original, sigma, next, whole)
  }

  #move(sample: Tensor, original: Tensor, sigma: number, to: number, noise: Tensor): Tensor {
    const { up, down } = ancestralStep(sigma, to)
    const ratio = down / sigma
    return combine([ratio, sample], [1 - ratio, original], [up, noise])
  }

  /**
   * The tree's noise from level `sigma` a share of the way to `next` in log sigma, of unit variance. The ends pass through float32
   * logarithms as in the reference, since the tree is asked at rounded levels, and another rounding is another draw. The motion goes
   * down the levels.
   */
  #increment(shape: readonly number[], sigma: number, next: number, share: number): Tensor {
    const levels = this.course.sigmas!
    this.#tree ??= new BrownianTree(BigInt(this.options.seed!), levels.at(-2)!, levels[0]!, shape)
    const t = -f32(Math.log(sigma))
    const end = share === 1 ? -f32(Math.log(next)) : f32(t + f32(f32(-f32(Math.log(next)) - t) * share))
    const [from, to] = [f32(Math.exp(-t)), f32(Math.exp(-end))]
    return combine([-1 / Math.sqrt(f32(from - to)), this.#tree.between(to, from)])
  }
}

/**
 * DPM-Solver++(2S), single-step, with ancestral noise, as k-diffusion has it. After Lu et al. 2022, https://arxiv.org/abs/2211.01095,
 * algorithm 1 with r = 1/2.
 *
 * | code         | paper, k-diffusion                                                        |
 * | ------------ | ------------------------------------------------------------------------- |
 * | `middle`     | sigma at s_i, halfway in lambda: the next level                             |
 * | `ratio`      | sigma_down over sigma, which is e^-h: 1 - `ratio` stands before x_theta     |
 * | `up`, `down` | sigma_up, sigma_down                                                       |
 */
import type { Tensor } from '../base/tensor'
import { combine } from './arithmetic'
import { parseConfig, type SchedulerConfig } from './config'
import type { StepInput } from './sampler'
import { ancestralStep } from './sigmas'
import { TwoStageSampler, type FirstStage } from './two-stage'
import { readKDiffusionOptions } from './unscaled'

/**
 * DPM++ 2S ancestral (k-diffusion: `sample_dpmpp_2s_ancestral`, which is its class name here, since diffusers has none). Runs the network
 * twice a step and draws noise after the second run; steps run in order.
 */
export class DPMSolver2SAncestralSampler extends TwoStageSampler {
  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('sample_dpmpp_2s_ancestral', config, readKDiffusionOptions))
  }

  get name(): string { return `dpmpp-2s-ancestral${this.suffix}` }
  override get stochastic(): boolean { return true }

  protected override draws(index: number): boolean { return index % 2 === 1 }
  /** Halfway to where the step without its noise ends, which is the next level. */
  protected override middle(_sigma: number, next: number): number { return next }

  protected override finish({ noise }: StepInput, { sample, sigma, next }: FirstStage, original: Tensor): Tensor {
    const { up, down } = ancestralStep(sigma, next)
    const ratio = down / sigma
    return combine([ratio, sample], [1 - ratio, original], [up, noise!])
  }
}

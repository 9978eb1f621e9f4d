/**
 * Heun's method for the probability-flow ODE: Karras et al. 2022, https://arxiv.org/abs/2206.00364, algorithm 1.
 *
 * | code                        | paper                                                   |
 * | --------------------------- | ------------------------------------------------------- |
 * | `sigma`, `next`             | t_i, t_{i+1}                                             |
 * | `first.original`            | D_theta(x_i; t_i)                                        |
 * | `original`                  | D_theta(x_{i+1}; t_{i+1})                                |
 * | `half / sigma`, `half / next` | the step's half over t: the mean of d_i and d'_i, times the step |
 */
import type { Tensor } from '../base/tensor'
import { combine } from './arithmetic'
import { parseConfig, type SchedulerConfig } from './config'
import { limit } from './prediction'
import type { StepInput } from './sampler'
import { TwoStageSampler, type FirstStage } from './two-stage'
import { readSigmaOptions, type SigmaOptions } from './unscaled'

interface HeunOptions extends SigmaOptions {
  clip: boolean
  clipRange: number
}

/** Heun (diffusers: `HeunDiscreteScheduler`). Runs the network twice a step; remembers the first run, so steps run in order. */
export class HeunSampler extends TwoStageSampler<HeunOptions> {
  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('HeunDiscreteScheduler', config, reader => ({
      ...readSigmaOptions(reader, { betaStart: 0.00085, betaEnd: 0.012, zeroSnr: 'none' }),
      clip: reader.flag('clip_sample', false),
      clipRange: reader.number('clip_sample_range', 1, 1e-6, 1e6),
    })))
  }

  get name(): string { return `heun${this.suffix}` }

  protected override middle(_sigma: number, next: number): number { return next }
  protected override middleTimestep(_sigma: number, next: number): number { return next }

  protected override original(input: StepInput): Tensor {
    const { clip, clipRange } = this.options
    return limit(super.original(input), { clip, clipRange, thresholding: false, thresholdRatio: 1, thresholdMax: 1 })
  }

  protected override finish({ sample }: StepInput, first: FirstStage, original: Tensor): Tensor {
    const { sigma, next } = first
    const half = (next - sigma) / 2
    return combine([1 + half / sigma, first.sample], [-half / sigma, first.original], [half / next, sample], [-half / next, original])
  }
}

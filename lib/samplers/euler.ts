/**
 * Euler's method for the probability-flow ODE: Karras et al. 2022, https://arxiv.org/abs/2206.00364, algorithm 1 without its second-order
 * correction.
 *
 * | code        | paper                                                     |
 * | ----------- | --------------------------------------------------------- |
 * | `sample`    | x, as x_0 + sigma n: not scaled to unit variance           |
 * | `sigma`     | t_i = sigma_i                                              |
 * | `next`      | t_{i+1}                                                    |
 * | `original`  | D_theta(x; sigma)                                          |
 * | `ratio`     | (t_{i+1} - t_i) / t_i: the step times d_i's 1 / t_i        |
 */
import type { Tensor } from '../base/tensor'
import { combine } from './arithmetic'
import { parseConfig, type ConfigReader, type SchedulerConfig } from './config'
import { readCommon, type StepInput } from './sampler'
import { finalSigmas, readSigmaRange, readSigmaRule } from './sigmas'
import { UnscaledSampler, type SigmaOptions } from './unscaled'

function readOptions(reader: ConfigReader): SigmaOptions {
  const common = readCommon(reader, { spacing: 'linspace', zeroSnr: 'floor' })
  reader.choice('interpolation_type', 'linear', ['linear'])
  reader.choice('timestep_type', 'discrete', ['discrete'])
  const range = readSigmaRange(reader)
  return { ...common, ...range, rule: readSigmaRule(reader, false), finalSigma: reader.choice('final_sigmas_type', 'zero', finalSigmas) }
}

/** Euler (diffusers: `EulerDiscreteScheduler`). Steps may be called in any order. */
export class EulerSampler extends UnscaledSampler {
  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('EulerDiscreteScheduler', config, readOptions))
  }

  get name(): string { return `euler${this.suffix}` }

  protected override advance(input: StepInput): Tensor {
    return combine(...this.drift(input, this.course.sigmas![input.index + 1]!))
  }
}

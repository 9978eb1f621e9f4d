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
import { parseConfig, type ConfigReader, type ParsedConfig, type SchedulerConfig } from './config'
import { toOriginalUnscaled } from './prediction'
import { readCommon, Sampler, type CommonOptions, type Course, type StepInput } from './sampler'
import {
  finalSigmas, interpolate, readSigmaRange, readSigmaRule, ruledSigmas, timestepOfSigma, trainingSigmas,
  type FinalSigma, type SigmaRange, type SigmaRule,
} from './sigmas'
import { spacedTimesteps } from './timesteps'

export interface SigmaOptions extends CommonOptions, SigmaRange {
  rule: SigmaRule
  finalSigma: FinalSigma
}

/** What both Euler samplers share: samples that are not scaled to unit variance, hence inputs that are, and noise levels. */
export abstract class UnscaledSampler extends Sampler<SigmaOptions> {
  readonly #trained: Float32Array
  #initNoiseSigma: number

  protected constructor(parsed: ParsedConfig<SigmaOptions>) {
    super(parsed)
    this.#trained = trainingSigmas(this.alphasCumprod)
    this.#initNoiseSigma = this.#startOf(this.#trained.at(-1)!)
  }

  override get initNoiseSigma(): number { return this.#initNoiseSigma }

  override scaleInput(sample: Tensor, i: number): Tensor {
    return combine([1 / Math.sqrt(this.sigmas![i] ** 2 + 1), super.scaleInput(sample, i)])
  }

  protected override lay(steps: number): Course {
    const { rule, sigmaMin, sigmaMax, finalSigma } = this.options
    let timesteps = spacedTimesteps({ ...this.options, steps, fractional: true })
    let sigmas = timesteps.map(timestep => interpolate(this.#trained, timestep))
    if (rule !== 'timesteps') {
      const logSigmas = this.#trained.map(Math.log)
      sigmas = ruledSigmas(rule, sigmaMin ?? sigmas.at(-1)!, sigmaMax ?? sigmas[0], steps)
      timesteps = sigmas.map(sigma => Math.fround(timestepOfSigma(sigma, logSigmas)))
    }
    sigmas = [...sigmas, finalSigma === 'zero' ? 0 : this.#trained[0]].map(Math.fround)
    this.#initNoiseSigma = this.#startOf(Math.max(...sigmas))
    return { timesteps, sigmas }
  }

  protected override levels(index: number): { signal: number, noise: number } {
    return { signal: 1, noise: this.course.sigmas![index] }
  }

  /** Standard deviation of x_0 + sigma n at the start; spacings that begin at the last timestep take it for pure noise. */
  #startOf(sigmaMax: number): number {
    return this.options.spacing === 'leading' ? Math.fround(Math.sqrt(sigmaMax ** 2 + 1)) : sigmaMax
  }

  /** x moved to noise level `to` along the ODE. @returns the terms of a sum */
  protected drift({ output, sample, index }: StepInput, to: number): readonly (readonly [number, Tensor])[] {
    const sigma = this.course.sigmas![index]
    const original = toOriginalUnscaled(this.options.predictionType, output, sample, sigma)
    const ratio = (to - sigma) / sigma
    return [[1 + ratio, sample], [-ratio, original]]
  }
}

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

  get name(): string { return 'euler' }

  protected override advance(input: StepInput): Tensor {
    return combine(...this.drift(input, this.course.sigmas![input.index + 1]))
  }
}

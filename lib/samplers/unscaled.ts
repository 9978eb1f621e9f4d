/**
 * What the samplers over x_0 + sigma n share: samples that are not scaled to unit variance, hence inputs that are, and noise levels that
 * are at the timesteps or make them (Karras et al. 2022, https://arxiv.org/abs/2206.00364).
 */
import type { Tensor } from '../base/tensor'
import { combine } from './arithmetic'
import type { ConfigReader, ParsedConfig } from './config'
import { toOriginalUnscaled } from './prediction'
import { readCommon, Sampler, type CommonDefaults, type CommonOptions, type Course, type StepInput } from './sampler'
import {
  interpolate, readSigmaRule, ruledSigmas, ruleSuffix, timestepOfSigma, trainingSigmas, type FinalSigma, type SigmaRange, type SigmaRule,
} from './sigmas'
import { roundHalfEven, spacedTimesteps } from './timesteps'

export interface SigmaOptions extends CommonOptions, SigmaRange {
  rule: SigmaRule
  finalSigma: FinalSigma
  /** Levels between timesteps are linear in log sigma, as k-diffusion has them, rather than in sigma, as diffusers. */
  logInterpolation?: boolean
}

/** Reads {@link SigmaOptions} of a class with no options for the range and the end. @throws AsdmError `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
export function readSigmaOptions(reader: ConfigReader, defaults: Omit<CommonDefaults, 'spacing'>): SigmaOptions {
  return {
    ...readCommon(reader, { spacing: 'linspace', ...defaults }),
    rule: readSigmaRule(reader, false), sigmaMin: null, sigmaMax: null, finalSigma: 'zero',
  }
}

/**
 * Reads {@link SigmaOptions} of a sampler that k-diffusion has and diffusers has not: Stable Diffusion's betas, levels as k-diffusion takes
 * them from the timesteps. @throws AsdmError `BAD_CONFIG`, `UNSUPPORTED_CONFIG`
 */
export function readKDiffusionOptions(reader: ConfigReader): SigmaOptions {
  const betas = { betaStart: 0.00085, betaEnd: 0.012, betaSchedule: 'scaled_linear', zeroSnr: 'floor' } as const
  return { ...readSigmaOptions(reader, betas), logInterpolation: true }
}

export abstract class UnscaledSampler<Options extends SigmaOptions = SigmaOptions> extends Sampler<Options> {
  readonly #trained: Float32Array
  readonly #logTrained: Float32Array
  #initNoiseSigma: number

  protected constructor(parsed: ParsedConfig<Options>) {
    super(parsed)
    this.#trained = trainingSigmas(this.alphasCumprod)
    this.#logTrained = this.#trained.map(Math.log)
    this.#initNoiseSigma = this.#startOf(this.#trained.at(-1)!)
  }

  override get initNoiseSigma(): number { return this.#initNoiseSigma }

  override scaleInput(sample: Tensor, i: number): Tensor {
    const checked = this.checkInput(sample, i)
    return combine([1 / Math.sqrt(this.sigmas![i]! ** 2 + 1), checked])
  }

  protected override lay(steps: number): Course {
    const { rule, sigmaMin, sigmaMax, finalSigma, logInterpolation, spacing, trainTimesteps } = this.options
    // One step alone sits at the clean end with diffusers' linspace, and at the noisy end with k-diffusion's.
    let timesteps = logInterpolation && spacing === 'linspace' && steps === 1
      ? [trainTimesteps - 1]
      : spacedTimesteps({ ...this.options, steps, fractional: true })
    let sigmas = timesteps.map(timestep =>
      (logInterpolation ? Math.exp(interpolate(this.#logTrained, timestep)) : interpolate(this.#trained, timestep)))
    if (rule !== 'timesteps') {
      sigmas = ruledSigmas(rule, sigmaMin ?? sigmas.at(-1)!, sigmaMax ?? sigmas[0]!, steps, this.#logTrained)
      timesteps = sigmas.map(sigma => this.timestepAt(sigma))
      if (this.wholeTimesteps) timesteps = timesteps.map(roundHalfEven)
    }
    sigmas = [...sigmas, finalSigma === 'zero' ? 0 : this.#trained[0]!].map(Math.fround)
    this.#initNoiseSigma = this.#startOf(Math.max(...sigmas))
    return { timesteps, sigmas }
  }

  protected override levels(index: number): { signal: number, noise: number } {
    return { signal: 1, noise: this.course.sigmas![index]! }
  }

  /** Are the timesteps of chosen noise levels made whole? */
  protected get wholeTimesteps(): boolean { return false }

  /** The timestep of a noise level, between integers. */
  protected timestepAt(sigma: number): number {
    return Math.fround(timestepOfSigma(sigma, this.#logTrained))
  }

  /** The end of the sampler's name. */
  protected get suffix(): string { return ruleSuffix(this.options.rule) }

  /** Standard deviation of x_0 + sigma n at the start; spacings that begin at the last timestep take it for pure noise. */
  #startOf(sigmaMax: number): number {
    return this.options.spacing === 'leading' ? Math.fround(Math.sqrt(sigmaMax ** 2 + 1)) : sigmaMax
  }

  /** The predicted clean sample of a step. */
  protected original({ output, sample, index }: StepInput): Tensor {
    return toOriginalUnscaled(this.options.predictionType, output, sample, this.course.sigmas![index]!)
  }

  /** x moved to noise level `to` along the ODE. @returns the terms of a sum */
  protected drift(input: StepInput, to: number): readonly (readonly [number, Tensor])[] {
    const sigma = this.course.sigmas![input.index]!
    const ratio = (to - sigma) / sigma
    return [[1 + ratio, input.sample], [-ratio, this.original(input)]]
  }
}

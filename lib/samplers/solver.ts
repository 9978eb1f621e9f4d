/**
 * What the multistep solvers over lambda (DPM-Solver, UniPC, DEIS, SA-Solver) share: noise levels that are at the timesteps or make them.
 */
import { AsdmError } from '../base/errors'
import type { Tensor } from '../base/tensor'
import type { ConfigReader } from './config'
import { limit, readLimits, toEpsilon, toOriginal, type Limits } from './prediction'
import { readCommon, Sampler, type CommonOptions, type Course } from './sampler'
import {
  amplitudes, finalSigmas, integerTimestep, interpolate, isForeign, readSigmaRange, readSigmaRule, ruledSigmas, ruleSuffix,
  timestepOfSigma, trainingSigmas,
  type FinalSigma, type SigmaRange, type SigmaRule,
} from './sigmas'
import { spacedTimesteps } from './timesteps'

export interface SolverOptions extends CommonOptions, SigmaRange {
  limits: Limits
  rule: SigmaRule
  order: number
  lowerOrderFinal: boolean
  finalSigma: FinalSigma
  /** lambda below which the noisiest timesteps are left out. */
  lambdaMin: number
  cosine: boolean
}

/** Which options a solver class has. */
interface SolverOwn {
  /** `use_lu_lambdas`, and `lambda_min_clipped` if `clips` does not say otherwise. */
  lambdas: boolean
  clips?: boolean
  /** `sigma_min` and `sigma_max`. */
  sigmaRange: boolean
  /** `final_sigmas_type` and `rescale_betas_zero_snr`; without them a run ends at the least noise of training. */
  ends: boolean
  /** `solver_order`, if not false. */
  order?: false
}

/** Reads {@link SolverOptions}. @throws AsdmError `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
export function readSolver(reader: ConfigReader, own: SolverOwn): SolverOptions {
  const common = readCommon(reader, { spacing: 'linspace', zeroSnr: own.ends ? 'floor' : 'none' })
  return {
    ...common,
    ...(own.sigmaRange ? readSigmaRange(reader) : { sigmaMin: null, sigmaMax: null }),
    limits: readLimits(reader, 'absent'),
    rule: readSigmaRule(reader, own.lambdas),
    order: own.order === false ? 1 : reader.integer('solver_order', 2, 1, 3),
    lowerOrderFinal: reader.flag('lower_order_final', true),
    finalSigma: own.ends ? reader.choice('final_sigmas_type', 'zero', finalSigmas) : 'sigma_min',
    lambdaMin: own.clips ?? own.lambdas ? reader.number('lambda_min_clipped', null, -Infinity, 1e6) ?? -Infinity : -Infinity,
    cosine: reader.values.beta_schedule === 'squaredcos_cap_v2',
  }
}

/** How a solver class makes integers of the timesteps of chosen noise levels, and where it ends with `sigma_min`. */
export interface SolverHabits {
  rounding: 'round' | 'truncate'
  /** `sigma_min` ends at the last chosen level again, rather than at the first training timestep's. */
  endsAtLastSigma: boolean
}

export abstract class SolverSampler<Options extends SolverOptions> extends Sampler<Options> {
  protected override get multistep(): boolean { return true }

  protected abstract habits(): SolverHabits

  /** The end of the sampler's name. */
  protected get suffix(): string { return ruleSuffix(this.options.rule) }

  protected override lay(steps: number): Course {
    const { rule, sigmaMin, sigmaMax, finalSigma } = this.options
    const trained = trainingSigmas(this.alphasCumprod)
    const { rounding, endsAtLastSigma } = this.habits()
    let timesteps: number[]
    let sigmas: number[]
    if (rule === 'timesteps') {
      timesteps = spacedTimesteps({ ...this.options, steps, last: this.#lastTimestep(trained), dropLast: true })
      sigmas = timesteps.map(timestep => interpolate(trained, timestep))
    } else {
      const logSigmas = trained.map(Math.log)
      sigmas = ruledSigmas(rule, sigmaMin ?? trained[0]!, sigmaMax ?? trained.at(-1)!, steps, logSigmas)
      timesteps = sigmas.map(sigma => timestepOfSigma(sigma, logSigmas)).map(timestep =>
        (isForeign(rule) ? Math.fround(timestep) : integerTimestep(timestep, rounding)))
    }
    const last = finalSigma === 'zero' ? 0 : rule !== 'timesteps' && endsAtLastSigma ? sigmas.at(-1)! : trained[0]!
    sigmas = [...sigmas, last].map(Math.fround)
    // Equal levels leave no slope to extrapolate.
    for (let i = 1; i < timesteps.length; i++) {
      if (sigmas[i]! >= sigmas[i - 1]!)
        throw new AsdmError('INVALID_ARGUMENT',
          `Expected fewer than ${steps} steps for ${this.name}: the noise level must fall with every step, `
          + `but step ${i} would start no lower than step ${i - 1}`)
    }
    return { timesteps, sigmas }
  }

  /** One past the noisiest timestep to visit. */
  #lastTimestep(trained: Float32Array): number {
    const { lambdaMin, trainTimesteps } = this.options
    if (lambdaMin === -Infinity) return trainTimesteps
    const last = trained.findLastIndex(sigma => -Math.log(sigma) >= lambdaMin) + 1
    if (last < 2) throw new AsdmError('BAD_CONFIG', `Expected lambda_min_clipped to leave at least 2 timesteps but received ${lambdaMin}`)
    return last
  }

  /** The clean sample that the network's output at a step says, within its limits. */
  protected original(output: Tensor, sample: Tensor, index: number): Tensor {
    const { alpha, noise } = amplitudes(this.course.sigmas![index]!)
    return limit(toOriginal(this.options.predictionType, output, sample, alpha, noise), this.options.limits)
  }

  /** The noise that it says, of the limited clean sample where that is limited. */
  protected epsilon(output: Tensor, sample: Tensor, index: number): Tensor {
    const { alpha, noise } = amplitudes(this.course.sigmas![index]!)
    if (!this.options.limits.thresholding) return toEpsilon(this.options.predictionType, output, sample, alpha, noise)
    return toEpsilon('sample', this.original(output, sample, index), sample, alpha, noise)
  }

  protected override levels(index: number): { signal: number, noise: number } {
    const { alpha, noise } = amplitudes(this.course.sigmas![index]!)
    return { signal: alpha, noise }
  }
}

/** What the multistep solvers over lambda (DPM-Solver++, UniPC) share: noise levels that are at the timesteps or make them. */
import { AsdmError } from '../base/errors'
import type { ConfigReader } from './config'
import { readLimits, type Limits } from './prediction'
import { readCommon, Sampler, type CommonOptions, type Course } from './sampler'
import {
  amplitudes, finalSigmas, integerTimestep, interpolate, readSigmaRange, readSigmaRule, ruledSigmas, timestepOfSigma, trainingSigmas,
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

/** Reads {@link SolverOptions}. @throws AsdmError `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
export function readSolver(reader: ConfigReader, own: { lambdas: boolean, sigmaRange: boolean }): SolverOptions {
  const common = readCommon(reader, { spacing: 'linspace', zeroSnr: 'floor' })
  return {
    ...common,
    ...(own.sigmaRange ? readSigmaRange(reader) : { sigmaMin: null, sigmaMax: null }),
    limits: readLimits(reader, 'absent'),
    rule: readSigmaRule(reader, own.lambdas),
    order: reader.integer('solver_order', 2, 1, 3),
    lowerOrderFinal: reader.flag('lower_order_final', true),
    finalSigma: reader.choice('final_sigmas_type', 'zero', finalSigmas),
    lambdaMin: own.lambdas ? reader.number('lambda_min_clipped', null, -Infinity, 1e6) ?? -Infinity : -Infinity,
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
      sigmas = ruledSigmas(rule, sigmaMin ?? trained[0], sigmaMax ?? trained.at(-1)!, steps)
      timesteps = sigmas.map(sigma => integerTimestep(timestepOfSigma(sigma, logSigmas), rounding))
    }
    const last = finalSigma === 'zero' ? 0 : rule !== 'timesteps' && endsAtLastSigma ? sigmas.at(-1)! : trained[0]
    sigmas = [...sigmas, last].map(Math.fround)
    // Equal levels leave no slope to extrapolate.
    for (let i = 1; i < timesteps.length; i++) {
      if (sigmas[i] >= sigmas[i - 1])
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

  protected override levels(index: number): { signal: number, noise: number } {
    const { alpha, noise } = amplitudes(this.course.sigmas![index])
    return { signal: alpha, noise }
  }
}

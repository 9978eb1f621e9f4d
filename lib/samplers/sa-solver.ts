/**
 * SA-Solver, a stochastic Adams method with a corrector that costs no network call: Xue et al. 2023, https://arxiv.org/abs/2309.05019,
 * algorithm 1.
 *
 * | code                 | paper                                                                                   |
 * | -------------------- | --------------------------------------------------------------------------------------- |
 * | `tau`                | tau(t): 1 between the timesteps 200 and 800, 0 beyond; how much of the noise is renewed     |
 * | `h`                  | lambda_{t_{i+1}} - lambda_{t_i}                                                          |
 * | `nodes`              | lambda of the outputs that count, latest first, less the lambda where the step ends         |
 * | `weights`            | b_j of the predictor (eq. 14), of the corrector (eq. 17): integrated polynomials             |
 * | `excess`             | what makes the second order exact for the stochastic part, as the reference adds it         |
 */
import type { Tensor } from '../base/tensor'
import { combine, copyOf } from './arithmetic'
import { parseConfig, type SchedulerConfig } from './config'
import { exponentialWeights } from './lagrange'
import type { StepInput } from './sampler'
import { amplitudes } from './sigmas'
import { readSolver, SolverSampler, type SolverHabits, type SolverOptions } from './solver'

interface SASolverOptions extends SolverOptions {
  predictorOrder: number
  correctorOrder: number
  predictOriginal: boolean
}

/** What the corrector needs to know of the step before. */
interface Before {
  sample: Tensor
  noise: Tensor
  tau: number
  correctorOrder: number
}

/**
 * SA-Solver (diffusers: `SASolverScheduler` with its own `tau_func`). Draws noise at every step, also where it has no share. Remembers
 * earlier steps, so they run in order.
 */
export class SASolverSampler extends SolverSampler<SASolverOptions> {
  /** Converted network outputs, latest first. */
  #outputs: Tensor[] = []
  #before: Before | undefined

  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('SASolverScheduler', config, reader => {
      const algorithm = reader.choice('algorithm_type', 'data_prediction', ['data_prediction', 'noise_prediction'])
      const predictOriginal = algorithm === 'data_prediction'
      const solver = readSolver(reader, { lambdas: false, clips: true, sigmaRange: false, ends: false, order: false })
      if (!predictOriginal && solver.limits.thresholding)
        throw reader.unsupported('thresholding', true, 'false with algorithm_type noise_prediction')
      return {
        ...solver, predictOriginal,
        predictorOrder: reader.integer('predictor_order', 2, 1, 4), correctorOrder: reader.integer('corrector_order', 2, 1, 4),
      }
    }))
  }

  get name(): string { return `sa-solver${this.suffix}` }
  override get stochastic(): boolean { return true }

  protected override habits(): SolverHabits {
    return { rounding: this.options.rule === 'karras' ? 'round' : 'truncate', endsAtLastSigma: true }
  }

  protected override forget(): void {
    this.#outputs = []
    this.#before = undefined
  }

  protected override advance({ output, sample, index, timestep, noise }: StepInput): Tensor {
    const { predictorOrder, correctorOrder, predictOriginal, lowerOrderFinal } = this.options
    const converted = predictOriginal ? this.original(output, sample, index) : this.epsilon(output, sample, index)
    const before = this.#before
    const corrected = before === undefined
      ? copyOf(sample)
      : this.#move(before.sample, before.noise, before.tau, index - 1, [converted, ...this.#outputs].slice(0, before.correctorOrder), index)
    this.#outputs = [converted, ...this.#outputs].slice(0, Math.max(predictorOrder, correctorOrder - 1))
    const left = lowerOrderFinal ? this.course.timesteps.length - index : Infinity
    const tau = timestep >= 200 && timestep <= 800 ? 1 : 0
    this.#before = {
      sample: corrected, noise: copyOf(noise!), tau, correctorOrder: Math.min(correctorOrder, left + 1, this.#outputs.length + 1),
    }
    return this.#move(corrected, noise!, tau, index, this.#outputs.slice(0, Math.min(predictorOrder, left)), index)
  }

  /**
   * From step `index` of the course to the next, with the outputs that count.
   * @param latest the step that the first output belongs to: `index` for the predictor, the one after for the corrector
   */
  #move(sample: Tensor, noise: Tensor, tau: number, index: number, outputs: readonly Tensor[], latest: number): Tensor {
    const { predictOriginal } = this.options
    const sigmas = this.course.sigmas!
    const [from, to] = [amplitudes(sigmas[index]!), amplitudes(sigmas[index + 1]!)]
    const h = Math.log(sigmas[index]! / sigmas[index + 1]!)
    const nodes = outputs.map((_, k) => Math.log(sigmas[index + 1]! / sigmas[latest - k]!))
    const rate = 1 + tau ** 2
    const weights = exponentialWeights(nodes, predictOriginal ? rate : -1, -h, 0)
    if (predictOriginal && weights.length === 2 && h > 0) {
      const rest = (h * rate + Math.expm1(-rate * h)) / rate ** 2
      const excess = latest === index ? (h ** 2 / 2 - rest) / Math.log(sigmas[index - 1]! / sigmas[index]!) : h / 2 - rest / h
      weights[0]! += excess
      weights[1]! -= excess
    }
    const scale = rate * (predictOriginal ? to.alpha : -to.noise)
    return combine(
      [predictOriginal ? Math.exp(-(tau ** 2) * h) * to.noise / from.noise : to.alpha / from.alpha, sample],
      ...weights.map((weight, k) => [scale * weight, outputs[k]!] as const),
      [to.noise * (predictOriginal ? Math.sqrt(-Math.expm1(-2 * tau ** 2 * h)) : tau * Math.sqrt(Math.expm1(2 * h))), noise],
    )
  }
}

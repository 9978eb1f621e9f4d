/**
 * DPM-Solver++, multistep: Lu et al. 2022, https://arxiv.org/abs/2211.01095, algorithm 2 (2M, here `midpoint`; `heun` is the other form
 * of second order), its third order, and SDE-DPM-Solver++ of the same paper.
 *
 * | code                       | paper                                                               |
 * | -------------------------- | ------------------------------------------------------------------- |
 * | `alpha`, `noise`           | alpha_t, sigma_t                                                     |
 * | `h`                        | h_i = lambda_{t_i} - lambda_{t_{i-1}}: the step to make              |
 * | `h0`, `h1`                 | the steps before it                                                  |
 * | `#originals`               | x_theta, the predicted clean samples, latest first                   |
 * | `d1`, `d2`                 | D_1, D_2: differences that estimate the derivatives in lambda, times h, h² |
 * | `h0 / h`                   | r_0                                                                  |
 */
import type { Tensor } from '../base/tensor'
import { combine } from './arithmetic'
import { parseConfig, type SchedulerConfig } from './config'
import { limit, toOriginal } from './prediction'
import type { StepInput } from './sampler'
import { amplitudes } from './sigmas'
import { readSolver, SolverSampler, type SolverHabits, type SolverOptions } from './solver'

interface DPMSolverOptions extends SolverOptions {
  stochastic: boolean
  solverType: 'midpoint' | 'heun'
  eulerAtFinal: boolean
}

/** Algorithms and solver types of other classes, which the reference takes for its own default. */
const otherSolverTypes = new Map([['logrho', 'midpoint'], ['bh1', 'midpoint'], ['bh2', 'midpoint']] as const)

const otherAlgorithms = new Map([['deis', 'dpmsolver++']] as const)

/** (exp(-h) - 1) / h + 1, by its series where the difference would cancel. */
function psi2(h: number): number {
  return Math.abs(h) < 1e-3 ? h / 2 - h ** 2 / 6 + h ** 3 / 24 : Math.expm1(-h) / h + 1
}

/** (exp(-h) - 1 + h) / h² - 1/2, likewise. */
function psi3(h: number): number {
  return Math.abs(h) < 1e-3 ? -h / 6 + h ** 2 / 24 - h ** 3 / 120 : (Math.expm1(-h) + h) / h ** 2 - 0.5
}

/**
 * DPM-Solver++ of order 1 to 3, also its SDE form up to order 2 (diffusers: `DPMSolverMultistepScheduler` with `algorithm_type`
 * `dpmsolver++` or `sde-dpmsolver++`). Remembers earlier steps, so they run in order.
 */
export class DPMSolverMultistepSampler extends SolverSampler<DPMSolverOptions> {
  #originals: Tensor[] = []

  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('DPMSolverMultistepScheduler', config, reader => {
      const solver = readSolver(reader, { lambdas: true, sigmaRange: false })
      const algorithm = reader.choice('algorithm_type', 'dpmsolver++', ['dpmsolver++', 'sde-dpmsolver++'], otherAlgorithms)
      // The reference's third-order SDE step contradicts the paper's expansion, so there is nothing to agree with.
      if (algorithm === 'sde-dpmsolver++' && solver.order === 3)
        throw reader.unsupported('solver_order', 3, 'at most 2 with algorithm_type sde-dpmsolver++')
      return {
        ...solver,
        stochastic: algorithm === 'sde-dpmsolver++',
        solverType: reader.choice('solver_type', 'midpoint', ['midpoint', 'heun'], otherSolverTypes),
        eulerAtFinal: reader.flag('euler_at_final', false),
      }
    }))
  }

  get name(): string { return this.options.rule === 'karras' ? 'dpmpp-2m-karras' : 'dpmpp-2m' }
  override get stochastic(): boolean { return this.options.stochastic }

  protected override habits(): SolverHabits {
    return { rounding: this.options.rule !== 'exponential' && !this.options.cosine ? 'round' : 'truncate', endsAtLastSigma: false }
  }

  protected override forget(): void { this.#originals = [] }

  protected override advance({ output, sample, index, noise: fresh }: StepInput): Tensor {
    const { predictionType, limits, stochastic, solverType } = this.options
    const sigmas = this.course.sigmas!
    const from = amplitudes(sigmas[index])
    const to = amplitudes(sigmas[index + 1])
    const original = limit(toOriginal(predictionType, output, sample, from.alpha, from.noise), limits)
    const [, earlier, earliest] = this.#originals = [original, ...this.#originals].slice(0, 3)
    const order = this.#orderOf(index)

    const h = Math.log(sigmas[index] / sigmas[index + 1])
    // The SDE form integrates over twice the step, and its noise makes up for the rest of the variance.
    const reach = stochastic ? 2 * h : h
    const growth = Math.expm1(-reach)
    const terms: (readonly [number, Tensor])[] = [
      [to.noise / from.noise * (stochastic ? Math.exp(-h) : 1), sample],
      [-to.alpha * growth, original],
    ]
    if (fresh !== undefined) terms.push([to.noise * Math.sqrt(-growth), fresh])
    if (order === 1) return combine(...terms)

    const h0 = Math.log(sigmas[index - 1] / sigmas[index])
    const slope = combine([h / h0, original], [-h / h0, earlier])
    if (order === 2) return combine(...terms, [to.alpha * (solverType === 'heun' ? psi2(reach) : -0.5 * growth), slope])

    const h1 = Math.log(sigmas[index - 2] / sigmas[index - 1])
    const bend = combine([1, slope], [-h / h1, earlier], [h / h1, earliest])
    const d1 = combine([1, slope], [h0 / (h0 + h1), bend])
    return combine(...terms, [to.alpha * psi2(h), d1], [-to.alpha * psi3(h) * h / (h0 + h1), bend])
  }

  /** Order of a step: low at the start for want of outputs, low at the end of short runs for stability. */
  #orderOf(index: number): number {
    const { order, lowerOrderFinal, eulerAtFinal, finalSigma } = this.options
    const count = this.course.timesteps.length
    const short = lowerOrderFinal && count < 15
    if (index === count - 1 && (eulerAtFinal || short || finalSigma === 'zero')) return 1
    return Math.min(order, this.#originals.length, index === count - 2 && short ? 2 : 3)
  }
}

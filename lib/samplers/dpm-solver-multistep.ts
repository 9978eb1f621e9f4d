/**
 * DPM-Solver++, multistep: Lu et al. 2022, https://arxiv.org/abs/2211.01095, algorithm 2 (2M, here `midpoint`; `heun` is the other form
 * of second order), its third order, SDE-DPM-Solver++ of the same paper, and the same over the predicted noise: DPM-Solver, Lu et al. 2022,
 * https://arxiv.org/abs/2206.00927.
 *
 * | code                       | paper                                                               |
 * | -------------------------- | ------------------------------------------------------------------- |
 * | `alpha`, `noise`           | alpha_t, sigma_t                                                     |
 * | `h`                        | h_i = lambda_{t_i} - lambda_{t_{i-1}}: the step to make              |
 * | `h0`, `h1`                 | the steps before it                                                  |
 * | `#outputs`                 | x_theta or epsilon_theta: predicted clean samples or noise            |
 * | `d1`, `d2`                 | D_1, D_2: differences that estimate the derivatives in lambda, times h, h² |
 * | `h0 / h`                   | r_0                                                                  |
 */
import type { Tensor } from '../base/tensor'
import { combine } from './arithmetic'
import { parseConfig, type SchedulerConfig } from './config'
import { phi2, phi3 } from './exponential'
import type { StepInput } from './sampler'
import { amplitudes } from './sigmas'
import { readSolver, SolverSampler, type SolverHabits, type SolverOptions } from './solver'

interface DPMSolverOptions extends SolverOptions {
  predictOriginal: boolean
  stochastic: boolean
  solverType: 'midpoint' | 'heun'
  eulerAtFinal: boolean
}

/** Algorithms and solver types of other classes, which the reference takes for its own default. */
const otherSolverTypes = new Map([['logrho', 'midpoint'], ['bh1', 'midpoint'], ['bh2', 'midpoint']] as const)

const algorithms = ['dpmsolver', 'dpmsolver++', 'sde-dpmsolver', 'sde-dpmsolver++'] as const

const otherAlgorithms = new Map([['deis', 'dpmsolver++']] as const)

/**
 * DPM-Solver++ of order 1 to 3, also its SDE form up to order 2, and both over the predicted noise, as DPM-Solver had them (diffusers:
 * `DPMSolverMultistepScheduler` with any `algorithm_type`). Remembers earlier steps, so they run in order.
 */
export class DPMSolverMultistepSampler extends SolverSampler<DPMSolverOptions> {
  /** What the network predicted, clean samples or noise, latest first. */
  #outputs: Tensor[] = []

  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('DPMSolverMultistepScheduler', config, reader => {
      const solver = readSolver(reader, { lambdas: true, sigmaRange: false, ends: true })
      const algorithm = reader.choice('algorithm_type', 'dpmsolver++', algorithms, otherAlgorithms)
      const stochastic = algorithm.startsWith('sde')
      // The reference's third-order SDE step contradicts the paper's expansion, so there is nothing to agree with.
      if (stochastic && solver.order === 3)
        throw reader.unsupported('solver_order', 3, `at most 2 with algorithm_type ${algorithm} (the sampler dpmpp-3m-sde has the third)`)
      const predictOriginal = algorithm.endsWith('++')
      if (!predictOriginal && solver.finalSigma === 'zero')
        throw reader.unsupported('final_sigmas_type', 'zero', `sigma_min with algorithm_type ${algorithm}, which cannot end without noise`)
      return {
        ...solver, stochastic, predictOriginal,
        solverType: reader.choice('solver_type', 'midpoint', ['midpoint', 'heun'], otherSolverTypes),
        eulerAtFinal: reader.flag('euler_at_final', false),
      }
    }))
  }

  get name(): string { return `dpmpp-2m${this.options.stochastic ? '-sde' : ''}${this.suffix}` }
  override get stochastic(): boolean { return this.options.stochastic }

  protected override habits(): SolverHabits {
    const rounds = this.options.rule !== 'exponential' && this.options.rule !== 'beta' && !this.options.cosine
    return { rounding: rounds ? 'round' : 'truncate', endsAtLastSigma: false }
  }

  protected override forget(): void { this.#outputs = [] }

  protected override advance({ output, sample, index, noise: fresh }: StepInput): Tensor {
    const { stochastic, predictOriginal, solverType } = this.options
    const sigmas = this.course.sigmas!
    const from = amplitudes(sigmas[index]!)
    const to = amplitudes(sigmas[index + 1]!)
    const predicted = predictOriginal ? this.original(output, sample, index) : this.epsilon(output, sample, index)
    const [, earlier, earliest] = this.#outputs = [predicted, ...this.#outputs].slice(0, 3)
    const order = this.#orderOf(index)

    const h = Math.log(sigmas[index]! / sigmas[index + 1]!)
    // Over noise the exponents have the other sign. The SDE forms take off twice the noise, and add fresh noise for the rest of the
    // variance.
    const reach = predictOriginal ? (stochastic ? 2 * h : h) : -h
    const scale = predictOriginal ? to.alpha : (stochastic ? 2 : 1) * to.noise
    const growth = Math.expm1(-reach)
    const terms: (readonly [number, Tensor])[] = [
      [predictOriginal ? to.noise / from.noise * (stochastic ? Math.exp(-h) : 1) : to.alpha / from.alpha, sample],
      [-scale * growth, predicted],
    ]
    if (fresh !== undefined) terms.push([to.noise * Math.sqrt(predictOriginal ? -growth : Math.expm1(2 * h)), fresh])
    if (order === 1) return combine(...terms)

    const h0 = Math.log(sigmas[index - 1]! / sigmas[index]!)
    const slope = combine([h / h0, predicted], [-h / h0, earlier!])
    if (order === 2) return combine(...terms, [scale * (solverType === 'heun' ? phi2(reach) : -0.5 * growth), slope])

    const h1 = Math.log(sigmas[index - 2]! / sigmas[index - 1]!)
    const bend = combine([1, slope], [-h / h1, earlier!], [h / h1, earliest!])
    const d1 = combine([1, slope], [h0 / (h0 + h1), bend])
    return combine(...terms, [scale * phi2(reach), d1], [-scale * phi3(reach) * h / (h0 + h1), bend])
  }

  /** Order of a step: low at the start for want of outputs, low at the end of short runs for stability. */
  #orderOf(index: number): number {
    const { order, lowerOrderFinal, eulerAtFinal, finalSigma } = this.options
    const count = this.course.timesteps.length
    const short = lowerOrderFinal && count < 15
    if (index === count - 1 && (eulerAtFinal || short || finalSigma === 'zero')) return 1
    return Math.min(order, this.#outputs.length, index === count - 2 && short ? 2 : 3)
  }
}

/**
 * UniPC, a predictor with a corrector that costs no network call: Zhao et al. 2023, https://arxiv.org/abs/2302.04867, algorithms 1 and 2
 * (noise prediction) and their data-prediction form in appendix A, with B_1(h) = h or B_2(h) = e^h - 1.
 *
 * | code            | paper                                                                        |
 * | --------------- | ---------------------------------------------------------------------------- |
 * | `order`         | p                                                                            |
 * | `h`             | h_i = lambda_{t_i} - lambda_{t_{i-1}}                                         |
 * | `hh`            | h, or -h where clean samples are predicted                                    |
 * | `ratios`        | r_m = (lambda_{s_m} - lambda_{t_{i-1}}) / h                                   |
 * | `differences`   | D_m / r_m, D_m = model output at s_m minus the one at t_{i-1}                 |
 * | `basis`         | B(h)                                                                         |
 * | `right`         | phi_p(h) / B(h), the right side beside the matrix R_p of powers of r_m        |
 * | `weights`       | a_m, solving R a = phi / B                                                    |
 */
import type { Tensor } from '../base/tensor'
import { combine, copyOf } from './arithmetic'
import { parseConfig, type SchedulerConfig } from './config'
import type { StepInput } from './sampler'
import { amplitudes } from './sigmas'
import { readSolver, SolverSampler, type SolverHabits, type SolverOptions } from './solver'

interface UniPCOptions extends SolverOptions {
  predictOriginal: boolean
  basis: 'bh1' | 'bh2'
  /** Steps, by index in the course, after which the corrector stays out. */
  disableCorrector: readonly number[]
}

/** UniPC of order 1 to 3 (diffusers: `UniPCMultistepScheduler`). Remembers earlier steps, so they run in order. */
export class UniPCSampler extends SolverSampler<UniPCOptions> {
  /** Converted network outputs, latest first. */
  #outputs: Tensor[] = []
  #lastSample: Tensor | undefined
  #lastOrder = 1

  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('UniPCMultistepScheduler', config, reader => {
      const solver = readSolver(reader, { lambdas: false, sigmaRange: true, ends: true })
      const predictOriginal = reader.flag('predict_x0', true)
      if (!predictOriginal && solver.limits.thresholding) throw reader.unsupported('thresholding', true, 'false with predict_x0 false')
      if (!solver.lowerOrderFinal && solver.finalSigma === 'zero' && solver.order > 1)
        throw reader.unsupported('lower_order_final', false, 'true with final_sigmas_type zero, where higher orders have no limit')
      return {
        ...solver,
        predictOriginal,
        basis: reader.choice('solver_type', 'bh2', ['bh1', 'bh2'], new Map([['midpoint', 'bh2'], ['heun', 'bh2'], ['logrho', 'bh2']])),
        disableCorrector: reader.numbers('disable_corrector', [], 0, solver.trainTimesteps, solver.trainTimesteps),
      }
    }))
  }

  get name(): string { return `unipc${this.suffix}` }

  protected override habits(): SolverHabits {
    return { rounding: this.options.rule === 'karras' ? 'round' : 'truncate', endsAtLastSigma: true }
  }

  protected override forget(): void {
    this.#outputs = []
    this.#lastSample = undefined
    this.#lastOrder = 1
  }

  protected override advance({ output, sample, index }: StepInput): Tensor {
    const { order, lowerOrderFinal, disableCorrector, predictOriginal } = this.options
    const converted = predictOriginal ? this.original(output, sample, index) : this.epsilon(output, sample, index)
    const corrected = this.#lastSample !== undefined && !disableCorrector.includes(index - 1)
      ? this.#move(this.#lastSample, index - 1, this.#lastOrder, converted)
      : copyOf(sample)
    this.#outputs = [converted, ...this.#outputs].slice(0, order)
    this.#lastSample = corrected
    this.#lastOrder = Math.min(order, this.#outputs.length, lowerOrderFinal ? this.course.timesteps.length - index : order)
    return this.#move(corrected, index, this.#lastOrder)
  }

  /**
   * From step `index` of the course to the next: the predictor (algorithm 2), or with the output found there the corrector (algorithm 1).
   * The latest remembered output belongs to step `index`.
   */
  #move(sample: Tensor, index: number, order: number, arrived?: Tensor): Tensor {
    const { predictOriginal, basis: basisType } = this.options
    const sigmas = this.course.sigmas!
    const from = amplitudes(sigmas[index]!)
    const to = amplitudes(sigmas[index + 1]!)
    const h = Math.log(sigmas[index]! / sigmas[index + 1]!)
    if (h === 0) return copyOf(sample)
    const hh = predictOriginal ? -h : h
    // scale times e^hh - 1, in a form that stays finite where the run ends without noise and h is infinite.
    const moved = predictOriginal ? to.alpha * Math.expm1(hh) : to.alpha * from.noise / from.alpha - to.noise
    const current = this.#outputs[0]!
    const earlier = this.#outputs.slice(1)
    const terms: (readonly [number, Tensor])[] = [
      [predictOriginal ? to.noise / from.noise : to.alpha / from.alpha, sample],
      [-moved, current],
    ]
    if (order === 1 && arrived === undefined) return combine(...terms)

    const spread = basisType === 'bh2' ? moved : (predictOriginal ? to.alpha : to.noise) * hh
    const ratios = Array.from({ length: order - 1 }, (_, m) => Math.log(sigmas[index]! / sigmas[index - m - 1]!) / h)
    const weights = solverWeights(arrived === undefined ? ratios : [...ratios, 1], order, hh, basisType)
    ratios.forEach((ratio, m) => {
      const factor = -spread * weights[m]! / ratio
      terms.push([factor, earlier[m]!], [-factor, current])
    })
    if (arrived !== undefined) terms.push([-spread * weights[order - 1]!, arrived], [spread * weights[order - 1]!, current])
    return combine(...terms)
  }
}

/** The weights a of the differences at `ratios`: as many equations of R a = phi / B as there are ratios. */
function solverWeights(ratios: readonly number[], order: number, hh: number, basisType: 'bh1' | 'bh2'): number[] {
  // One difference alone takes 1/2 whatever h is, which keeps the order, as the paper shows.
  if (ratios.length === 1 && (order === 2 || ratios[0] === 1)) return [0.5]
  const basis = basisType === 'bh1' ? hh : Math.expm1(hh)
  const right: number[] = []
  let phi = Math.expm1(hh) / hh - 1
  let factorial = 1
  for (let k = 1; k <= ratios.length; k++) {
    right.push(phi * factorial / basis)
    factorial *= k + 1
    phi = phi / hh - 1 / factorial
  }
  return solve(right.map((_, k) => ratios.map(ratio => ratio ** k)), right)
}

/** Gaussian elimination with row exchange, for 2 or 3 unknowns. */
function solve(matrix: readonly (readonly number[])[], right: readonly number[]): number[] {
  const rows = matrix.map((row, k) => [...row, right[k]!])
  const size = rows.length
  for (let column = 0; column < size; column++) {
    let pivot = column
    for (let k = column + 1; k < size; k++) if (Math.abs(rows[k]![column]!) > Math.abs(rows[pivot]![column]!)) pivot = k
    const chosen = rows[pivot]!
    rows[pivot] = rows[column]!
    rows[column] = chosen
    for (const row of rows) {
      if (row === chosen) continue
      const factor = row[column]! / chosen[column]!
      for (let j = column; j <= size; j++) row[j]! -= factor * chosen[j]!
    }
  }
  return rows.map((row, k) => row[size]! / row[k]!)
}

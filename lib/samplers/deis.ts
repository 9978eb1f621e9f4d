/**
 * DEIS, multistep in log rho: Zhang and Chen 2022, https://arxiv.org/abs/2204.13902, section 3.2 (log rho-AB-DEIS).
 *
 * | code          | paper                                                                              |
 * | ------------- | ---------------------------------------------------------------------------------- |
 * | `#outputs`    | epsilon_theta at this and earlier steps, latest first                                |
 * | `nodes`       | log rho at these, counted from this step's; rho is noise over signal, here `sigmas`  |
 * | `weights`     | C_ij: the polynomials through the nodes, integrated over rho                          |
 */
import type { Tensor } from '../base/tensor'
import { combine } from './arithmetic'
import { parseConfig, type SchedulerConfig } from './config'
import type { StepInput } from './sampler'
import { exponentialWeights } from './lagrange'
import { amplitudes } from './sigmas'
import { readSolver, SolverSampler, type SolverHabits, type SolverOptions } from './solver'

/** DEIS of order 1 to 3 (diffusers: `DEISMultistepScheduler`). Remembers earlier steps, so they run in order. */
export class DEISSampler extends SolverSampler<SolverOptions> {
  #outputs: Tensor[] = []

  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('DEISMultistepScheduler', config, reader => {
      // Other classes' algorithms and solver types, which the reference takes for its only ones.
      reader.choice('algorithm_type', 'deis', ['deis'], new Map([['dpmsolver', 'deis'], ['dpmsolver++', 'deis']]))
      reader.choice('solver_type', 'logrho', ['logrho'],
        new Map([['midpoint', 'logrho'], ['heun', 'logrho'], ['bh1', 'logrho'], ['bh2', 'logrho']]))
      return readSolver(reader, { lambdas: false, sigmaRange: false, ends: false })
    }))
  }

  get name(): string { return `deis${this.suffix}` }

  protected override habits(): SolverHabits {
    return { rounding: this.options.rule === 'karras' ? 'round' : 'truncate', endsAtLastSigma: true }
  }

  protected override forget(): void { this.#outputs = [] }

  protected override advance({ output, sample, index }: StepInput): Tensor {
    const sigmas = this.course.sigmas!
    this.#outputs = [this.epsilon(output, sample, index), ...this.#outputs].slice(0, this.options.order)
    const order = this.#orderOf(index)
    const [from, to] = [amplitudes(sigmas[index]!), amplitudes(sigmas[index + 1]!)]
    const nodes = Array.from({ length: order }, (_, k) => Math.log(sigmas[index - k]! / sigmas[index]!))
    const weights = exponentialWeights(nodes, 1, 0, Math.log(sigmas[index + 1]! / sigmas[index]!))
    return combine(
      [to.alpha / from.alpha, sample], ...weights.map((weight, k) => [to.alpha * sigmas[index]! * weight, this.#outputs[k]!] as const),
    )
  }

  /** Order of a step: low at the start for want of outputs, low at the end of short runs for stability. */
  #orderOf(index: number): number {
    const left = this.course.timesteps.length - index
    const short = this.options.lowerOrderFinal && this.course.timesteps.length < 15
    return Math.min(this.#outputs.length, short ? left : 3)
  }
}

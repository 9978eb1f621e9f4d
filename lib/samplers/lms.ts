/**
 * Linear multistep (Adams-Bashforth) for the probability-flow ODE, with coefficients for uneven steps, as K. Crowson wrote it for
 * k-diffusion. Also the same method with the coefficients of even steps, known as iPNDM: Zhang and Chen 2022,
 * https://arxiv.org/abs/2204.13902, section 3.3, in the form that Zhou et al. 2023 (https://arxiv.org/abs/2312.00094) run over sigma.
 *
 * | code             | k-diffusion, paper                                                       |
 * | ---------------- | ------------------------------------------------------------------------ |
 * | `#derivatives`   | d_i = (x - D(x; sigma)) / sigma, the predicted noise; latest first         |
 * | `levels`         | t[i], t[i-1], ...: where these were found                                 |
 * | `weights`        | each derivative's Lagrange polynomial, integrated over the step            |
 */
import type { Tensor } from '../base/tensor'
import { adamsBashforth, combine } from './arithmetic'
import { parseConfig, type SchedulerConfig } from './config'
import type { StepInput } from './sampler'
import { readKDiffusionOptions, readSigmaOptions, UnscaledSampler } from './unscaled'

/** Earlier steps that count, with the present one. */
const most = 4

/** What both multistep methods over sigma share. */
abstract class DerivativesSampler extends UnscaledSampler {
  #derivatives: Tensor[] = []

  protected override get multistep(): boolean { return true }
  protected override forget(): void { this.#derivatives = [] }

  /** The weights of the latest `order` derivatives over the step from `index` to the next, latest first. */
  protected abstract weights(index: number, order: number): number[]

  protected override advance(input: StepInput): Tensor {
    const { sample, index } = input
    const sigma = this.course.sigmas![index]!
    const derivative = combine([1 / sigma, sample], [-1 / sigma, this.original(input)])
    this.#derivatives = [derivative, ...this.#derivatives].slice(0, most)
    const weights = this.weights(index, this.#derivatives.length)
    return combine([1, sample], ...this.#derivatives.map((each, k) => [weights[k]!, each] as const))
  }
}

/**
 * LMS of up to fourth order (diffusers: `LMSDiscreteScheduler`). Remembers earlier steps, so they run in order. Part-way starts begin with
 * first order as others do; diffusers takes coefficients of an order there whose earlier outputs it does not have.
 */
export class LMSSampler extends DerivativesSampler {
  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('LMSDiscreteScheduler', config, reader => readSigmaOptions(reader, { zeroSnr: 'none' })))
  }

  get name(): string { return `lms${this.suffix}` }

  protected override weights(index: number, order: number): number[] {
    const sigmas = this.course.sigmas!
    const levels = Array.from({ length: order }, (_, k) => sigmas[index - k]!)
    return levels.map((level, j) => integral(tau => levels.reduce((product, other, k) =>
      (k === j ? product : product * (tau - other) / (level - other)), 1), sigmas[index]!, sigmas[index + 1]!))
  }
}

/** Of a polynomial up to the fifth degree, from `from` to `to`: Gauss and Legendre's three points. */
function integral(polynomial: (x: number) => number, from: number, to: number): number {
  const [middle, half] = [(from + to) / 2, (to - from) / 2]
  const reach = half * Math.sqrt(3 / 5)
  return half * (5 * polynomial(middle - reach) + 8 * polynomial(middle) + 5 * polynomial(middle + reach)) / 9
}

/**
 * iPNDM of fourth order over sigma (its class name here is `sample_ipndm`; diffusers' `IPNDMScheduler` is for models whose time runs from
 * 1 to 0). Remembers earlier steps, so they run in order.
 */
export class IPNDMSampler extends DerivativesSampler {
  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('sample_ipndm', config, readKDiffusionOptions))
  }

  get name(): string { return `ipndm${this.suffix}` }

  protected override weights(index: number, order: number): number[] {
    const sigmas = this.course.sigmas!
    return adamsBashforth[order - 1]!.map(weight => weight * (sigmas[index + 1]! - sigmas[index]!))
  }
}

/**
 * DPM-Solver++ (SDE), multistep of third order, as k-diffusion has it. After Lu et al. 2022, https://arxiv.org/abs/2211.01095, section 3.3
 * and appendix B.
 *
 * | code                 | k-diffusion                                                         |
 * | -------------------- | ------------------------------------------------------------------- |
 * | `h`, `h1`, `h2`      | the step in lambda, and those before it, latest first                 |
 * | `reach`              | h_eta = 2 h: the noise is taken off again, then added               |
 * | `#originals`         | the predicted clean samples, latest first                            |
 * | `d1`, `d2`           | d1, d2: differences that estimate the derivatives in lambda, times h, h² |
 */
import type { Tensor } from '../base/tensor'
import { combine } from './arithmetic'
import { parseConfig, type SchedulerConfig } from './config'
import { phi2, phi3 } from './exponential'
import type { StepInput } from './sampler'
import { readKDiffusionOptions, UnscaledSampler } from './unscaled'

/**
 * DPM++ 3M SDE (k-diffusion: `sample_dpmpp_3m_sde`, which is its class name here, since diffusers' third-order SDE step has another sign in
 * it). Remembers earlier steps, so they run in order; draws noise at every step but the last. k-diffusion takes that of a Brownian tree,
 * whose increments over steps are independent normal values too.
 */
export class DPMSolver3MSDESampler extends UnscaledSampler {
  #originals: Tensor[] = []

  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('sample_dpmpp_3m_sde', config, readKDiffusionOptions))
  }

  get name(): string { return `dpmpp-3m-sde${this.suffix}` }
  override get stochastic(): boolean { return true }
  protected override get multistep(): boolean { return true }

  protected override draws(index: number): boolean { return index < this.course.timesteps.length - 1 }
  protected override forget(): void { this.#originals = [] }

  protected override advance(input: StepInput): Tensor {
    const { sample, index, noise } = input
    const sigmas = this.course.sigmas!
    const original = this.original(input)
    const [, earlier, earliest] = this.#originals = [original, ...this.#originals].slice(0, 3)
    if (noise === undefined) return original
    const next = sigmas[index + 1]!
    const h = Math.log(sigmas[index]! / next)
    const reach = 2 * h
    const terms: (readonly [number, Tensor])[] = [
      [Math.exp(-reach), sample], [-Math.expm1(-reach), original], [next * Math.sqrt(-Math.expm1(-reach)), noise],
    ]
    if (this.#originals.length === 1) return combine(...terms)
    const h1 = Math.log(sigmas[index - 1]! / sigmas[index]!)
    const slope = combine([h / h1, original], [-h / h1, earlier!])
    if (this.#originals.length === 2) return combine(...terms, [phi2(reach), slope])
    const h2 = Math.log(sigmas[index - 2]! / sigmas[index - 1]!)
    const bend = combine([1, slope], [-h / h2, earlier!], [h / h2, earliest!])
    const d1 = combine([1, slope], [h1 / (h1 + h2), bend])
    return combine(...terms, [phi2(reach), d1], [-phi3(reach) * h / (h1 + h2), bend])
  }
}

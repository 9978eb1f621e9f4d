/**
 * Pseudo numerical methods for diffusion models: Liu et al. 2022, https://arxiv.org/abs/2202.09778. Linear multistep (PLMS, eq. 12), begun
 * by pseudo Runge-Kutta (PRK, eq. 13) or, with `skip_prk_steps` as Stable Diffusion has it, by one Heun-like step that visits its
 * timestep twice, then orders 2 and 3.
 *
 * | code                          | paper                                                            |
 * | ----------------------------- | ---------------------------------------------------------------- |
 * | `#outputs`                    | e_t, e_{t+delta}, ...: earlier network outputs, latest first      |
 * | `mixed`                       | e'_t, the output that the transfer gets                           |
 * | `transfer`                    | phi(x_t, e'_t, t, t - delta), eq. 9                               |
 * | `stride`                      | delta                                                            |
 * | `product`, `previousProduct`  | alpha-bar_t, alpha-bar_{t-delta}                                  |
 */
import { AsdmError } from '../base/errors'
import type { Tensor } from '../base/tensor'
import { adamsBashforth, combine, copyOf } from './arithmetic'
import { parseConfig, type SchedulerConfig } from './config'
import { toEpsilon } from './prediction'
import { readCommon, Sampler, type CommonOptions, type Course, type StepInput } from './sampler'
import { spacedTimesteps } from './timesteps'

interface PNDMOptions extends CommonOptions {
  skipPrkSteps: boolean
  setAlphaToOne: boolean
}

/** Runge-Kutta: three steps of four network calls each. */
const prkCalls = 12

/** PNDM (diffusers: `PNDMScheduler`). Remembers earlier steps, so they run in order. */
export class PNDMSampler extends Sampler<PNDMOptions> {
  #stride = 0
  #outputs: Tensor[] = []
  /** The sample that a step of several network calls starts from. */
  #start: Tensor | undefined
  /** Weighted sum of a Runge-Kutta step's outputs so far. */
  #sum: Tensor | undefined

  /** @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
  constructor(config: SchedulerConfig) {
    super(parseConfig('PNDMScheduler', config, reader => ({
      ...readCommon(reader, { spacing: 'leading', zeroSnr: 'none' }),
      skipPrkSteps: reader.flag('skip_prk_steps', false),
      setAlphaToOne: reader.flag('set_alpha_to_one', false),
    })))
  }

  get name(): string { return 'pndm' }
  protected override get multistep(): boolean { return true }

  protected override lay(steps: number, begin: number): Course {
    const spaced = spacedTimesteps({ ...this.options, steps })
    this.checkTrained(spaced, steps)
    const stride = Math.floor(this.options.trainTimesteps / steps)
    const timesteps = this.options.skipPrkSteps ? [...spaced.slice(0, 2), ...spaced.slice(1)] : this.#layPrk(spaced, stride, begin)
    this.#stride = stride
    return { timesteps }
  }

  #layPrk(spaced: readonly number[], stride: number, begin: number): number[] {
    if (spaced.length < 4)
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected at least 4 steps for pndm with Runge-Kutta steps (skip_prk_steps false) but received ${spaced.length}`)
    if (begin > 0)
      throw new AsdmError('INVALID_ARGUMENT',
        'Expected strength 1 for pndm with Runge-Kutta steps (skip_prk_steps false), which only start at the beginning, but received less')
    const half = Math.floor(stride / 2)
    const prk: number[] = []
    for (let step = 0; step < 3; step++) {
      const middle = spaced[step + 1]! + half
      prk.push(spaced[step]!, middle, middle, spaced[step + 1]!)
    }
    return [...prk, ...spaced.slice(3)]
  }

  protected override forget(): void {
    this.#outputs = []
    this.#start = undefined
    this.#sum = undefined
  }

  protected override advance(input: StepInput): Tensor {
    return this.options.skipPrkSteps || input.i >= prkCalls ? this.#plms(input) : this.#prk(input)
  }

  #prk({ output, sample, i, timestep }: StepInput): Tensor {
    const from = this.course.timesteps[i - i % 4]!
    const to = i % 2 === 1 ? timestep : timestep - Math.floor(this.#stride / 2)
    let mixed = output
    switch (i % 4) {
      case 0:
        this.#remember(output)
        this.#start = copyOf(sample)
        this.#sum = combine([1 / 6, output])
        break
      case 3:
        mixed = combine([1, this.#sum!], [1 / 6, output])
        break
      default:
        this.#sum = combine([1, this.#sum!], [1 / 3, output])
    }
    return this.#transfer(this.#start!, mixed, from, to)
  }

  #plms({ output, sample, i, timestep }: StepInput): Tensor {
    const stride = this.#stride
    if (this.options.skipPrkSteps && i === 1) {
      // The second visit: the first step again, with the mean slope of both ends.
      return this.#transfer(this.#start!, combine([1 / 2, output], [1 / 2, this.#outputs[0]!]), timestep + stride, timestep)
    }
    if (i === 0) this.#start = copyOf(sample)
    this.#remember(output)
    const weights = adamsBashforth[this.#outputs.length - 1]!
    const mixed = combine(...this.#outputs.map((earlier, k) => [weights[k]!, earlier] as const))
    return this.#transfer(sample, mixed, timestep, timestep - stride)
  }

  #remember(output: Tensor): void {
    this.#outputs = [copyOf(output), ...this.#outputs].slice(0, 4)
  }

  /** From timestep `from` to `to` along a noise prediction (eq. 9). */
  #transfer(sample: Tensor, mixed: Tensor, from: number, to: number): Tensor {
    const product = this.alphasCumprod[from]!
    const previousProduct = to >= 0 ? this.alphasCumprod[to]! : this.options.setAlphaToOne ? 1 : this.alphasCumprod[0]!
    const epsilon = toEpsilon(this.options.predictionType, mixed, sample, Math.sqrt(product), Math.sqrt(1 - product))
    const denominator = product * Math.sqrt(1 - previousProduct) + Math.sqrt(product * (1 - product) * previousProduct)
    return combine([Math.sqrt(previousProduct / product), sample], [-(previousProduct - product) / denominator, epsilon])
  }
}

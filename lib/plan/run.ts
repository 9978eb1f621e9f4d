import type { UNet, UNetRun } from '../components/unet'
import { AsdmError } from '../errors'
import { guide } from '../guidance'
import { tile, type Tensor } from '../tensor'
import { pick } from '../text/encode'
import type { ExpandedStep } from './expand'
import { mainUNet } from './plan'

/** What a request's plan costs, known before its first denoising step. */
export interface PlanReport {
  /** Multiply-accumulates of the UNet passes, and of the same run in full: the main UNet at every step, with guidance where the request has it. */
  macs: number
  /** Multiply-accumulates of the same run in full. */
  fullMacs: number
  /** `macs` over `fullMacs`. */
  share: number
  /** The same, step by step. */
  stepShares: number[]
  /** Bytes held between steps for inherited features. */
  keptBytes: number
}

/** What a request's plan brought. */
export interface RunStatistics extends PlanReport {
  /** Milliseconds of each step's UNet pass. */
  stepMs: number[]
  /** How many times as fast as the run in full. */
  speedUp: {
    /** `fullMacs` over `macs`. */
    counted: number
    /**
     * Time of the run if every step took as long as a full one, over the time it took. A full step's time is the median of this run's
     * own full steps, without the first one, which also lays out memory, where there are others. `undefined` in a run without any.
     */
    measured: number | undefined
  }
}

interface Shape { images: number, height: number, width: number, length: number, guided: boolean }

/** The UNet's part of a request with a plan: runs each step as the plan says and keeps its features and guidance directions. */
export class PlannedRun {
  readonly report: PlanReport
  readonly #steps: readonly { unet: UNetRun, index: number, guidance: ExpandedStep['guidance'], full: boolean }[]
  readonly #runs: UNetRun[] = []
  readonly #guided: boolean
  readonly #stepMs: number[] = []
  #direction: Float32Array | undefined

  /**
   * Compiles the steps; features do not cross UNets, so each gets a run of its own.
   * @param shape latents, text tokens, and whether the batch has an unconditional half
   * @throws AsdmError `INVALID_ARGUMENT` where something inherited has no source, `SHAPE_MISMATCH`, `OUT_OF_MEMORY`
   */
  constructor(unets: Readonly<Record<string, UNet>>, steps: readonly ExpandedStep[], { images, guided, ...size }: Shape) {
    this.#guided = guided
    const shape = { batch: guided ? 2 * images : images, ...size }
    const planned: { unet: UNetRun, index: number, guidance: ExpandedStep['guidance'], full: boolean, macs: number }[] = new Array(steps.length)
    let fullMacs: number | undefined
    try {
      for (const name of new Set(steps.map(({ unet }) => unet))) {
        const own = steps.flatMap((step, i) => (step.unet === name ? [i] : []))
        const run = unets[name].createRun(shape, own.map(i => ({ inherit: steps[i].inherit, conditionalOnly: steps[i].guidance !== 'full' })))
        this.#runs.push(run)
        if (name === mainUNet) fullMacs = run.info.fullMacs
        own.forEach((i, index) => {
          const { macs } = run.info.steps[index]
          planned[i] = { unet: run, index, guidance: steps[i].guidance, macs, full: name === mainUNet && macs === run.info.fullMacs }
        })
      }
      fullMacs ??= unets[mainUNet].describe(shape).macs
    } catch (error) {
      this.dispose()
      throw error
    }
    this.#steps = planned
    const macs = planned.reduce((sum, step) => sum + step.macs, 0)
    this.report = {
      macs, fullMacs: fullMacs * steps.length, share: macs / (fullMacs * steps.length), stepShares: planned.map(step => step.macs / fullMacs),
      keptBytes: this.#runs.reduce((sum, { info }) => sum + info.keptBytes, 0),
    }
  }

  /**
   * The guided prediction of one step; steps come in order, each once.
   * @param sample [N,C,H,W] @param text [2N,L,D], the unconditional half first, or [N,L,D] without guidance
   * @returns [N,C,H,W]
   */
  async step(i: number, sample: Tensor, timestep: number, text: Tensor, scale: number, signal: AbortSignal): Promise<Tensor> {
    const { unet, index, guidance } = this.#steps[i]
    const begin = performance.now()
    const half = this.#guided && guidance !== 'full'
    const images = sample.shape[0]
    const predicted = await unet.forward(index, {
      sample: this.#guided && !half ? tile(sample, 2) : sample, timestep,
      encoderHiddenStates: half ? pick(text, Array.from({ length: images }, (_, k) => images + k)) : text, signal,
    })
    this.#stepMs.push(performance.now() - begin)
    if (!this.#guided) return predicted
    if (!half) {
      if (this.#steps.some(step => step.guidance === 'inherit')) this.#direction = directionOf(predicted)
      return guide(predicted, scale)
    }
    if (guidance === 'conditional') return predicted
    if (this.#direction === undefined) throw new AsdmError('INTERNAL', `Expected a guided step before step ${i}`)
    return alongDirection(predicted, this.#direction, scale)
  }

  /** To be asked for after the last step. */
  statistics(): RunStatistics {
    const { macs, fullMacs } = this.report
    const fullMs = this.#stepMs.filter((_, i) => this.#steps[i].full)
    const counted = fullMs.length > 1 && this.#steps[0].full ? fullMs.slice(1) : fullMs
    const total = this.#stepMs.reduce((sum, ms) => sum + ms, 0)
    const median = [...counted].sort((a, b) => a - b)[counted.length >> 1]
    return {
      ...this.report, stepMs: [...this.#stepMs],
      speedUp: { counted: fullMacs / macs, measured: median === undefined || total === 0 ? undefined : (median * this.#stepMs.length) / total },
    }
  }

  /** Frees the features. Twice is fine. */
  dispose(): void {
    for (const run of this.#runs) run.dispose()
    this.#direction = undefined
  }
}

/** Conditional minus unconditional output. */
function directionOf({ data }: Tensor): Float32Array {
  const half = data.length / 2
  return Float32Array.from({ length: half }, (_, i) => data[half + i] - data[i])
}

/** What `guide` gives for the direction, solved for the conditional output: cond + (scale - 1) * direction. */
function alongDirection({ data, shape }: Tensor, direction: Float32Array, scale: number): Tensor {
  const factor = Math.fround(scale - 1)
  return { data: data.map((value, i) => value + Math.fround(factor * direction[i])), shape }
}

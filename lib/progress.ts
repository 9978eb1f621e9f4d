import type { Tensor } from './base/tensor'
import type { GeneratedImage } from './image/generated-image'
import type { Preview } from './image/preview'
import type { PlanReport, RunStatistics } from './plan/report'

/** What every report of progress says. */
export interface StepBase {
  /** Parts of this phase that are done, this one included: 1 to `of`. */
  index: number
  /** Parts of this phase. */
  of: number
  /** Milliseconds that this part took; for `done` the whole request, waiting for its turn left out. */
  ms: number
  /** Milliseconds to the end of the request, as far as can be told; `undefined` before the first denoising step is done. */
  etaMs: number | undefined
}

/** One denoising step is done. */
export interface DenoiseStep extends StepBase {
  /** Tells the kinds of reports apart. */
  phase: 'denoise'
  /** The timestep that the UNet was given. */
  timestep: number
  /** Latents after the step, [N,C,h,w]; not to be written to. */
  latents: Tensor
  /** One rough preview per image, where `preview` was asked for. */
  preview?: Preview[]
}

/** The plan is compiled: what it costs is known. */
export interface PlanReady extends StepBase {
  /** Tells the kinds of reports apart. */
  phase: 'plan'
  /** What the plan costs. */
  report: PlanReport
}

/** The last report: the images. */
export interface DoneStep extends StepBase {
  /** Tells the kinds of reports apart. */
  phase: 'done'
  /** In the order of the prompts, `count` for each. */
  images: GeneratedImage[]
  /** What the plan brought, where there was one. */
  statistics?: RunStatistics
}

/**
 * Progress of a request, in this order: `text` once (the prompts are encoded), `encode` once where an image was handed in,
 * `plan` once where a plan was, `denoise` for every step, `decode` for every image, `done`.
 */
export type Step = (StepBase & { phase: 'text' | 'encode' | 'decode' }) | PlanReady | DenoiseStep | DoneStep

/** Measures a request and guesses when it ends. */
export class Clock {
  readonly #start = performance.now()
  #last = this.#start
  #denoiseMs: number[] = []
  #decodeMs: number | undefined

  /**
   * @param steps denoising steps in all @param images how many in all @param decodeMs what decoding one such image took before, if known
   */
  constructor(readonly steps: number, readonly images: number, decodeMs: number | undefined) {
    this.#decodeMs = decodeMs
  }

  /** Ends one part of a phase. */
  lap(phase: Step['phase'], index: number): StepBase {
    const now = performance.now()
    const ms = now - this.#last
    this.#last = now
    if (phase === 'denoise') this.#denoiseMs.push(ms)
    if (phase === 'decode') this.#decodeMs = ms
    if (phase === 'done') return { index, of: 1, ms: now - this.#start, etaMs: 0 }
    const of = phase === 'denoise' ? this.steps : phase === 'decode' ? this.images : 1
    return { index, of, ms, etaMs: this.#eta(phase === 'decode' ? index : 0) }
  }

  /** Time that the consumer of the steps spends between two of them counts for none of them. */
  resume(): void {
    this.#last = performance.now()
  }

  get decodeMs(): number | undefined {
    return this.#decodeMs
  }

  #eta(decoded: number): number | undefined {
    if (this.#denoiseMs.length === 0) return undefined
    // The first step also lays out memory, so it counts only while it is the only one.
    const laps = this.#denoiseMs.length > 1 ? this.#denoiseMs.slice(1) : this.#denoiseMs
    const stepMs = laps.reduce((sum, lap) => sum + lap, 0) / laps.length
    return stepMs * (this.steps - this.#denoiseMs.length) + (this.#decodeMs ?? 0) * (this.images - decoded)
  }
}

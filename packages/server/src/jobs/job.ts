import { randomUUID } from 'node:crypto'
import type { GeneratedImage, GenerateOptions, Preview, RunStatistics, Step } from 'asdm'
import { problemOf, ServerError, type Problem } from '../errors'
import type { NamedLora } from '../models/store'
import type { TaskStep } from '../tasks/runner'
import type { KeptJob } from './ledger'

/** Which API a job came by. */
export type Api = 'openai' | 'sdapi' | 'jobs'

/** What becomes of a job: it waits, its model is loaded, it runs; then it is one of the others. */
export type JobState = 'waiting' | 'loading' | 'running' | 'done' | 'failed' | 'cancelled'

/** One call of `generate`. */
export type Round = Omit<GenerateOptions, 'signal' | 'onProgress' | 'preview' | 'priority' | 'buffer' | 'pauseTimeout'>

/** What a job is to do. */
export interface JobRequest {
  model: string | undefined
  loras: readonly NamedLora[]
  /** Run one after the other. */
  rounds: readonly Round[]
  /** Makes previews. */
  preview: boolean
  /** Jobs of higher priority run first. */
  priority: number
  /** Who asks. Where jobs go to many machines, clients take turns. */
  client: string
}

/** How far a job is. */
export interface JobProgress {
  phase: Step['phase'] | undefined
  /** Rounds that are done, and all of them. */
  round: number
  rounds: number
  /** Denoising steps of this round that are done, and all of them. */
  step: number
  steps: number
  /** From 0 to 1. */
  fraction: number
  etaMs: number | undefined
}

/** A job: what is asked for, how far it is, what came of it. Whoever waits for it is told of changes, never of each one. */
export class Job {
  readonly id: string
  readonly createdMs: number
  /** Fires when it is cancelled. */
  readonly signal: AbortSignal
  state: JobState = 'waiting'
  /** The model's name, once it is known. */
  model: string | undefined
  startedMs: number | undefined
  finishedMs: number | undefined
  progress: JobProgress
  /** The newest previews of this round, and a number that grows with them. */
  previews: { images: readonly Preview[], version: number } = { images: [], version: 0 }
  images: GeneratedImage[] = []
  /** Names of its images among the results, where they are kept. */
  results: string[] = []
  statistics: RunStatistics[] = []
  problem: Problem | undefined
  /** What was thrown, for the log. */
  error: unknown
  skipped = false
  readonly #life = new AbortController()
  #round = new AbortController()
  readonly #waiting = new Set<() => void>()

  /**
   * @param request what is asked for; without its images once it has ended
   * @param kept what an earlier process called it
   */
  constructor(public request: JobRequest, readonly api: Api, kept?: { id: string, createdMs: number }) {
    this.id = kept?.id ?? randomUUID()
    this.createdMs = kept?.createdMs ?? Date.now()
    this.signal = this.#life.signal
    this.model = request.model
    this.progress = { phase: undefined, round: 0, rounds: request.rounds.length, step: 0, steps: 0, fraction: 0, etaMs: undefined }
  }

  /** Nothing changes any more. */
  get finished(): boolean {
    return this.finishedMs !== undefined
  }

  /** Bytes of the images that were handed in. */
  get bytes(): number {
    const handed = new Set(this.request.rounds.flatMap(({ image, mask }) => [image, mask]))
    return [...handed].reduce<number>((sum, image) => sum + (Buffer.isBuffer(image) ? image.byteLength : 0), 0)
  }

  /** Stops it, whether it waits or runs. */
  cancel(reason: ServerError = new ServerError('CANCELLED', 'The job was cancelled')): void {
    if (this.finished || this.signal.aborted) return
    this.#life.abort(reason)
    this.#round.abort(reason)
    // One that runs ends when its model has stopped.
    if (this.state === 'waiting') this.end(reason)
  }

  /** Gives up the round that is run and goes on with the next. */
  skip(): void {
    this.skipped = true
    this.#round.abort()
  }

  /** It is carried out from now on. */
  begin(): void {
    this.state = 'loading'
    this.startedMs = Date.now()
    this.changed()
  }

  /** It ended in an earlier process, or by another server. */
  restore(end: NonNullable<KeptJob['end']>, images: GeneratedImage[]): void {
    const { state, finishedMs, problem } = end
    Object.assign(this, { state, finishedMs, problem, images, results: [...end.results] })
    if (state === 'done') this.progress = { ...this.progress, phase: 'done', round: this.progress.rounds, fraction: 1, etaMs: 0 }
  }

  /** Begins a round. @returns its signal, and whether it was skipped */
  beginRound(round: number): { signal: AbortSignal, wasSkipped: () => boolean } {
    const controller = this.#round = new AbortController()
    if (this.signal.aborted) controller.abort(this.signal.reason)
    this.previews = { ...this.previews, images: [] }
    this.progress = { ...this.progress, phase: undefined, round, step: 0, fraction: round / this.progress.rounds, etaMs: undefined }
    this.changed()
    return { signal: controller.signal, wasSkipped: () => controller.signal.aborted && !this.signal.aborted }
  }

  /** Takes a report of the model. */
  report(step: Step): void {
    const { phase, etaMs } = step
    const { round, rounds } = this.progress
    const at = phase === 'denoise' ? { step: step.index, steps: step.of } : {}
    // Decoding is as long as a step or two; it is over when the round is.
    const within = phase === 'denoise' ? step.index / (step.of + 1) : phase === 'done' ? 1 : undefined
    this.progress = {
      ...this.progress, ...at, phase, etaMs, fraction: within === undefined ? this.progress.fraction : (round + within) / rounds,
    }
    if (phase === 'denoise' && step.preview !== undefined) this.previews = { images: step.preview, version: this.previews.version + 1 }
    if (phase === 'done' && step.statistics !== undefined) this.statistics.push(step.statistics)
    this.changed()
  }

  /** Takes a report of one of its images; others may be made at the same time. @param fraction how far the whole job is */
  reportTask({ phase, step, steps, etaMs, preview }: TaskStep, fraction: number): void {
    if (this.finished) return
    if (this.state === 'waiting') {
      this.state = 'running'
      this.startedMs = Date.now()
    }
    this.progress = { ...this.progress, phase, step, steps, etaMs, fraction }
    if (preview !== undefined && preview.length > 0) this.previews = { images: preview, version: this.previews.version + 1 }
    this.changed()
  }

  /** It is over: done without an error. */
  end(error?: unknown): void {
    if (this.finished) return
    this.finishedMs = Date.now()
    const { rounds } = this.request
    this.request = { ...this.request, rounds: rounds.map(({ image: _image, mask: _mask, ...round }) => round) }
    this.error = error
    if (error === undefined) {
      this.state = 'done'
      this.progress = { ...this.progress, phase: 'done', round: this.progress.rounds, fraction: 1, etaMs: 0 }
    } else {
      this.state = this.signal.aborted ? 'cancelled' : 'failed'
      this.problem = problemOf(this.signal.aborted ? this.signal.reason : error)
      this.progress = { ...this.progress, etaMs: undefined }
    }
    this.previews = { ...this.previews, images: [] }
    this.changed()
  }

  /** Wakes whoever waits for a change. */
  changed(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const wake of waiting) wake()
  }

  /** Waits for the next change, at most so long, or until the signal fires. */
  async change(signal?: AbortSignal, timeoutMs?: number): Promise<void> {
    if (this.finished || signal?.aborted === true) return
    await new Promise<void>(resolve => {
      const wake = (): void => {
        this.#waiting.delete(wake)
        clearTimeout(timer)
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      const timer = timeoutMs === undefined ? undefined : setTimeout(wake, timeoutMs)
      this.#waiting.add(wake)
      signal?.addEventListener('abort', wake)
    })
  }

  /**
   * Waits for the end.
   * @returns its images @throws what it failed with; where it was cancelled, why
   */
  async result(): Promise<GeneratedImage[]> {
    while (!this.finished) await this.change()
    if (this.state === 'cancelled') throw this.signal.reason
    if (this.state === 'failed') throw this.error
    return this.images
  }
}

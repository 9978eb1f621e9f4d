import { ServerError } from '../errors'
import type { ModelStore } from '../models/store'
import type { Settings } from '../options'
import { Job, type Api, type JobRequest } from './job'

/** Most bytes of pixels that finished jobs keep. */
const mostKept = 2 ** 28

/** Most bytes of images that waiting jobs were handed. */
const mostHanded = 2 ** 28

/** What the queue tells the server. */
export interface QueueEvents {
  ended(job: Job): void
}

/** Jobs that wait, the one that runs, and the last that ended. One runs at a time: a job takes all cores. */
export class JobQueue {
  readonly #models: ModelStore
  readonly #settings: Settings
  readonly #events: QueueEvents
  readonly #waiting: Job[] = []
  readonly #ended: Job[] = []
  #running: Job | undefined
  #stopping = false

  constructor(models: ModelStore, settings: Settings, events: QueueEvents) {
    this.#models = models
    this.#settings = settings
    this.#events = events
  }

  /** The job that runs. */
  get running(): Job | undefined {
    return this.#running
  }

  /** The jobs that wait, in the order in which they will run. */
  get waiting(): readonly Job[] {
    return this.#waiting
  }

  /** Ended jobs that are kept, then the running one, then those that wait. */
  get jobs(): Job[] {
    return [...this.#ended, ...(this.#running === undefined ? [] : [this.#running]), ...this.#waiting]
  }

  /** No job is taken any more. */
  get stopping(): boolean {
    return this.#stopping
  }

  /** @throws ServerError `QUEUE_FULL`, `STOPPING` */
  submit(request: JobRequest, api: Api): Job {
    if (this.#stopping) throw new ServerError('STOPPING', 'The server is stopping and takes no more jobs')
    if (this.#waiting.length >= this.#settings.queueLimit)
      throw new ServerError('QUEUE_FULL', `Expected at most ${this.#settings.queueLimit} waiting jobs but the queue is full; try again later`)
    const job = new Job(request, api)
    if (this.#waiting.length > 0 && this.#waiting.reduce((sum, { bytes }) => sum + bytes, job.bytes) > mostHanded)
      throw new ServerError('QUEUE_FULL', 'Expected waiting jobs with at most 256 MiB of images but the queue is full; try again later')
    const behind = this.#waiting.findIndex(each => each.request.priority < request.priority)
    this.#waiting.splice(behind < 0 ? this.#waiting.length : behind, 0, job)
    job.signal.addEventListener('abort', () => this.#leave(job), { once: true })
    this.#next()
    return job
  }

  /** @throws ServerError `NOT_FOUND` */
  get(id: string): Job {
    const job = this.jobs.find(each => each.id === id)
    if (job === undefined) throw new ServerError('NOT_FOUND', `Expected the id of a job that is kept but received ${JSON.stringify(id.slice(0, 60))}`)
    return job
  }

  /** How many jobs run before this one. */
  position(job: Job): number | undefined {
    const at = this.#waiting.indexOf(job)
    return at < 0 ? undefined : at + (this.#running === undefined ? 0 : 1)
  }

  /** Cancels what waits, and lets what runs end within `stopMs`. */
  async stop(): Promise<void> {
    this.#stopping = true
    for (const job of [...this.#waiting]) job.cancel(new ServerError('STOPPING', 'The server stopped before the job began'))
    const running = this.#running
    if (running === undefined) return
    const timer = setTimeout(() => running.cancel(new ServerError('STOPPING', 'The server stopped')), this.#settings.stopMs)
    await running.result().catch(() => {})
    clearTimeout(timer)
  }

  /** A waiting job was cancelled. */
  #leave(job: Job): void {
    const at = this.#waiting.indexOf(job)
    if (at < 0) return
    this.#waiting.splice(at, 1)
    this.#keep(job)
  }

  #next(): void {
    if (this.#running !== undefined) return
    const job = this.#waiting.shift()
    if (job === undefined) return
    this.#running = job
    for (const each of this.#waiting) each.changed()
    void this.#run(job).then(() => job.end(), (error: unknown) => job.end(error)).then(() => {
      this.#running = undefined
      this.#keep(job)
      this.#next()
    })
  }

  async #run(job: Job): Promise<void> {
    const { model, loras, rounds, preview } = job.request
    job.state = 'loading'
    job.startedMs = Date.now()
    job.changed()
    const lease = await this.#models.use(model, loras, job.signal)
    try {
      job.state = 'running'
      job.model = lease.name
      const side = lease.sd.sizes.default
      for (const [i, round] of rounds.entries()) {
        const { signal, wasSkipped } = job.beginRound(i)
        try {
          // Without a size an image that was handed in would give its own, whatever that is.
          const sized = { ...round, width: round.width ?? side, height: round.height ?? side }
          job.images.push(...await lease.sd.generate({ ...sized, preview, signal, onProgress: step => job.report(step) }))
        } catch (error) {
          if (!wasSkipped()) throw error
        }
      }
    } finally {
      lease.release()
    }
  }

  #keep(job: Job): void {
    this.#events.ended(job)
    this.#ended.push(job)
    const bytes = (): number => this.#ended.flatMap(({ images }) => images).reduce((sum, { rgba }) => sum + rgba.byteLength, 0)
    while (this.#ended.length > this.#settings.keepJobs || (this.#ended.length > 1 && bytes() > mostKept)) this.#ended.shift()
  }
}

import type { GeneratedImage } from 'asdm'
import { ServerError } from '../errors'
import type { Settings } from '../options'
import { withSeeds } from '../tasks/task'
import { Job, type Api, type JobRequest } from './job'
import type { KeptJob, Ledger } from './ledger'
import type { Runner } from './runner'

/** Most bytes of pixels that finished jobs keep. */
const mostKept = 2 ** 28

/** Most bytes of images that waiting jobs were handed. */
const mostHanded = 2 ** 28

/** What the queue tells the server. */
export interface QueueEvents {
  ended(job: Job): void
  /** An ended job could not be written down. */
  failed(error: unknown): void
}

/** Where jobs outlive the process: what is written down of them, and their images by the names of results. */
export interface Lasting {
  ledger: Ledger
  imageOf(result: string): Promise<GeneratedImage | undefined>
}

/** Jobs that wait, those that run, and the last that ended. */
export class JobQueue {
  readonly #runner: Runner
  readonly #settings: Settings
  readonly #events: QueueEvents
  readonly #lasting: Lasting | undefined
  readonly #waiting: Job[] = []
  readonly #running = new Set<Job>()
  readonly #ended: Job[] = []
  /** Jobs that are being written down. */
  #saving = 0
  readonly #writing = new Set<Promise<void>>()
  readonly #found = new Map<string, Promise<Job | undefined>>()
  #stopping = false

  constructor(runner: Runner, settings: Settings, events: QueueEvents, lasting?: Lasting) {
    this.#runner = runner
    this.#settings = settings
    this.#events = events
    this.#lasting = lasting
  }

  /** The jobs that run. */
  get running(): readonly Job[] {
    return [...this.#running]
  }

  /** The jobs that wait, in the order in which they will run. */
  get waiting(): readonly Job[] {
    return this.#waiting
  }

  /** Ended jobs that are kept, then those that run, then those that wait. */
  get jobs(): Job[] {
    return [...this.#ended, ...this.#running, ...this.#waiting]
  }

  /** No job is taken any more. */
  get stopping(): boolean {
    return this.#stopping
  }

  /** As many jobs wait as may. */
  get full(): boolean {
    const elsewhere = this.#runner.parallel === Infinity ? this.#running.size : 0
    return this.#waiting.length + this.#saving + elsewhere >= this.#settings.queueLimit
  }

  /** Goes on with the jobs of an earlier process. */
  async restore(): Promise<void> {
    for (const kept of await this.#lasting?.ledger.unfinished() ?? []) this.#insert(new Job(kept.request, kept.api, kept))
  }

  /** @throws ServerError `QUEUE_FULL`, `STOPPING`; what writing it down fails with */
  async submit(request: JobRequest, api: Api): Promise<Job> {
    if (this.#stopping) throw new ServerError('STOPPING', 'The server is stopping and takes no more jobs')
    if (this.full) throw new ServerError('QUEUE_FULL', `Expected at most ${this.#settings.queueLimit} waiting jobs but the queue is full; try again later`)
    const job = new Job(this.#lasting === undefined ? request : withSeeds(request), api)
    if (this.#waiting.length > 0 && this.#waiting.reduce((sum, { bytes }) => sum + bytes, job.bytes) > mostHanded)
      throw new ServerError('QUEUE_FULL', 'Expected waiting jobs with at most 256 MiB of images but the queue is full; try again later')
    if (this.#lasting !== undefined) {
      this.#saving++
      await this.#lasting.ledger.save(job).finally(() => { this.#saving-- })
    }
    this.#insert(job)
    return job
  }

  /** @throws ServerError `NOT_FOUND` */
  async get(id: string): Promise<Job> {
    const job = this.jobs.find(each => each.id === id) ?? await this.#find(id)
    if (job === undefined) throw new ServerError('NOT_FOUND', `Expected the id of a job that is kept but received ${JSON.stringify(id.slice(0, 60))}`)
    return job
  }

  /** How many jobs run before this one. */
  position(job: Job): number | undefined {
    const at = this.#waiting.indexOf(job)
    return at < 0 ? undefined : at + this.#running.size
  }

  /**
   * Lets what runs end within `stopMs`. What waits is cancelled; in a queue that outlives the process it only waits for the next one.
   */
  async stop(): Promise<void> {
    this.#stopping = true
    for (const job of [...this.#waiting]) job.cancel(new ServerError('STOPPING', 'The server stopped before the job began'))
    const running = [...this.#running]
    const stop = (): void => running.forEach(job => job.cancel(new ServerError('STOPPING', 'The server stopped')))
    // Elsewhere jobs go on without this server.
    if (this.#runner.parallel === Infinity) stop()
    const timer = setTimeout(stop, this.#settings.stopMs)
    await Promise.all(running.map(job => job.result().catch(() => {})))
    clearTimeout(timer)
    while (this.#running.size > 0 || this.#writing.size > 0) await new Promise(resolve => setTimeout(resolve, 5))
    await this.#lasting?.ledger.close()
    await this.#runner.close()
  }

  #insert(job: Job): void {
    const behind = this.#waiting.findIndex(each => each.request.priority < job.request.priority)
    this.#waiting.splice(behind < 0 ? this.#waiting.length : behind, 0, job)
    job.signal.addEventListener('abort', () => this.#leave(job), { once: true })
    this.#next()
  }

  /** A job of an earlier process, or of another server. */
  async #find(id: string): Promise<Job | undefined> {
    if (this.#lasting === undefined || this.#stopping) return undefined
    const { ledger } = this.#lasting
    // Two that ask at once get one job.
    const found = this.#found.get(id) ?? ledger.find(id).then(async kept => kept === undefined ? undefined : this.#revive(kept))
    this.#found.set(id, found)
    try {
      return await found
    } finally {
      this.#found.delete(id)
    }
  }

  async #revive(kept: KeptJob): Promise<Job> {
    const job = new Job(kept.request, kept.api, kept)
    if (kept.end === undefined) {
      this.#insert(job)
    } else {
      const images = await Promise.all(kept.end.results.map(async result => this.#lasting?.imageOf(result)))
      job.restore(kept.end, images.filter(image => image !== undefined))
    }
    return job
  }

  /** A waiting job was cancelled. */
  #leave(job: Job): void {
    const at = this.#waiting.indexOf(job)
    if (at < 0) return
    this.#waiting.splice(at, 1)
    // What is kept and told is how it ended.
    job.end(job.signal.reason)
    this.#keep(job)
  }

  #next(): void {
    if (this.#running.size >= this.#runner.parallel) return
    const job = this.#waiting.shift()
    if (job === undefined) return
    this.#running.add(job)
    for (const each of this.#waiting) each.changed()
    if (this.#runner.parallel !== Infinity) job.begin()
    void this.#runner.run(job).then(() => job.end(), (error: unknown) => job.end(error)).then(() => {
      this.#running.delete(job)
      this.#keep(job)
      this.#next()
    })
  }

  #keep(job: Job): void {
    this.#events.ended(job)
    // What a stop has cancelled waits for the next process.
    if (this.#lasting !== undefined && job.problem?.code !== 'STOPPING') {
      const written = this.#lasting.ledger.end(job).catch((error: unknown) => this.#events.failed(error))
        .finally(() => this.#writing.delete(written))
      this.#writing.add(written)
    }
    this.#ended.push(job)
    const bytes = (): number => this.#ended.flatMap(({ images }) => images).reduce((sum, { rgba }) => sum + rgba.byteLength, 0)
    while (this.#ended.length > this.#settings.keepJobs || (this.#ended.length > 1 && bytes() > mostKept)) this.#ended.shift()
  }
}

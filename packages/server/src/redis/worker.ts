import { createHash, randomUUID } from 'node:crypto'
import type { Job as Entry, Worker as Taker } from 'bullmq'
import type { Redis } from 'ioredis'
import { problemOf } from '../errors'
import type { ModelStore } from '../models/store'
import type { Settings } from '../options'
import type { ResultStore } from '../results/store'
import { kindOf, TaskMaker } from '../tasks/local'
import type { TaskStep } from '../tasks/runner'
import { connect, loadPackages } from './connection'
import { announceSeconds, keys, prefix, type Announcement, type OfferedModel, type TaskData, type TaskMessage } from './protocol'

/** How long a worker that says nothing keeps an image to itself, and how often it is looked for such. */
const lockMs = 15_000
const stalledMs = 5000
const idleMs = 500

const passTurn = `
  if tonumber(ARGV[1]) > tonumber(redis.call('get', KEYS[1]) or '0') then redis.call('set', KEYS[1], ARGV[1], 'EX', 86400) end`

/** What a worker tells its log. */
export interface WorkerEvents {
  made(task: TaskData, result: string, ms: number): void
  failed(task: TaskData, error: unknown): void
}

/** Takes images off the queues of the models that this machine has, one at a time, until it is stopped. */
export class QueueWorker {
  readonly #id = randomUUID()
  readonly #takers = new Map<string, Taker>()
  readonly #stop = new AbortController()
  #offers: OfferedModel[] = []
  #current: { id: string, abort: AbortController } | undefined
  #msPerImage = 0
  #wake = (): void => {}
  #over: Promise<void> | undefined

  private constructor(
    private readonly redis: Redis, private readonly listener: Redis, private readonly models: ModelStore,
    private readonly store: ResultStore,
    private readonly maker: TaskMaker, private readonly settings: Settings, private readonly events: WorkerEvents,
  ) {}

  /** @throws AsdmError `PACKAGE_MISSING` */
  static async start(url: string, models: ModelStore, store: ResultStore, settings: Settings, events: WorkerEvents): Promise<QueueWorker> {
    const redis = await connect(url)
    const listener = redis.duplicate()
    listener.on('error', () => {})
    const worker = new QueueWorker(redis, listener, models, store, new TaskMaker(models, store, settings.load), settings, events)
    listener.on('message', (channel: string, text: string) => {
      if (channel === keys.cancel && worker.#current?.id === text) worker.#current.abort.abort(new Error('cancelled'))
      worker.#wake()
    })
    await listener.subscribe(keys.cancel, keys.wake)
    await worker.#announce()
    worker.#over = worker.#run()
    return worker
  }

  /** Takes nothing more; the image that is being made may be finished within `stopMs`, else another worker makes it. */
  async close(): Promise<void> {
    this.#stop.abort()
    this.#wake()
    const timer = setTimeout(() => this.#current?.abort.abort(new Error('stopped')), this.settings.stopMs)
    await this.#over
    clearTimeout(timer)
    await this.redis.del(keys.worker(this.#id))
    await Promise.all([...this.#takers.values()].map(taker => taker.close()))
    this.listener.disconnect()
    this.redis.disconnect()
    await this.store.close()
  }

  async #run(): Promise<void> {
    const timer = setInterval(() => void this.#announce().catch(() => {}), announceSeconds * 300)
    while (!this.#stop.signal.aborted) {
      const worked = await this.#once().catch(() => false)
      if (worked || this.#stop.signal.aborted) continue
      await new Promise<void>(resolve => {
        const wait = setTimeout(resolve, idleMs)
        this.#wake = (): void => {
          clearTimeout(wait)
          resolve()
        }
      })
    }
    clearInterval(timer)
  }

  async #once(): Promise<boolean> {
    const token = randomUUID()
    for (const taker of this.#takers.values()) {
      const entry = await taker.getNextJob(token, { block: false }) as Entry<TaskData, string> | undefined
      if (entry === undefined) continue
      await this.#work(entry, token, taker.name)
      return true
    }
    return false
  }

  async #work(entry: Entry<TaskData, string>, token: string, group: string): Promise<void> {
    const { bullmq } = await loadPackages()
    const id = entry.id!
    const { task, preview, timeoutMs, turn } = entry.data
    const abort = new AbortController()
    this.#current = { id, abort }
    const began = performance.now()
    const locked = setInterval(() => void entry.extendLock(token, lockMs).catch(() => {}), lockMs / 3)
    const timer = setTimeout(() => abort.abort(new Error('timeout')), timeoutMs)
    try {
      if (entry.deferredFailure) throw new bullmq.UnrecoverableError(entry.deferredFailure)
      await this.redis.eval(passTurn, 1, keys.turn(group), turn)
      if (await this.redis.scard(keys.wanted(id)) === 0) abort.abort(new Error('cancelled'))
      const { result, made } = await this.maker.make(task, {
        signal: abort.signal, preview, began: () => {}, report: step => this.#report(id, step),
      })
      await entry.moveToCompleted(result, token, false)
      const ms = performance.now() - began
      if (made) {
        this.#msPerImage = this.#msPerImage === 0 ? ms : 0.8 * this.#msPerImage + 0.2 * ms
        this.events.made(entry.data, result, ms)
      }
    } catch (error) {
      await this.#failed(entry, token, error, (abort.signal.reason as Error | undefined)?.message)
    } finally {
      clearInterval(locked)
      clearTimeout(timer)
      this.#current = undefined
      await this.#publish(id, { type: 'over' })
    }
  }

  async #failed(entry: Entry<TaskData, string>, token: string, error: unknown, stopped: string | undefined): Promise<void> {
    const { bullmq } = await loadPackages()
    if (stopped === 'stopped') {
      await entry.moveToWait(token)
    } else if (stopped === 'cancelled') {
      await entry.moveToFailed(new bullmq.UnrecoverableError('CANCELLED: The job was cancelled'), token, false)
      await entry.remove()
    } else {
      const problem = error instanceof bullmq.UnrecoverableError ? undefined : problemOf(error)
      const text = stopped === 'timeout' ? 'TIMEOUT: The image took longer than it may' : problem === undefined ? error as Error : `${problem.code}: ${problem.message}`
      // What the request itself is to blame for fails everywhere.
      const hopeless = problem === undefined || (stopped === undefined && problem.status < 500)
      const said = typeof text === 'string' ? text : text.message
      await entry.moveToFailed(hopeless ? new bullmq.UnrecoverableError(said) : new Error(said), token, false)
      this.events.failed(entry.data, error)
    }
  }

  #report(id: string, { phase, step, steps, etaMs, preview }: TaskStep): void {
    const previews = preview?.map(({ rgba, width, height }) => ({ width, height, rgba: Buffer.from(rgba).toString('base64') }))
    void this.#publish(id, { type: 'step', phase, step, steps, etaMs, ...(previews !== undefined && { previews }) })
  }

  async #publish(id: string, message: TaskMessage): Promise<void> {
    await this.redis.publish(keys.task(id), JSON.stringify(message)).catch(() => {})
  }

  /** Says what this machine can do, and listens for it. */
  async #announce(): Promise<void> {
    const kind = kindOf(this.settings.load)
    const loras = Object.fromEntries(await this.maker.loras())
    this.#offers = await Promise.all((await this.models.list()).map(async ({ name, source, changedMs }) => {
      const hash = await this.maker.hash(source, changedMs)
      const group = createHash('sha256').update(JSON.stringify([name, hash, kind, Object.entries(loras).sort()])).digest('hex').slice(0, 24)
      return { name, group, hash, loras }
    }))
    for (const { group } of this.#offers) await this.#take(group)
    const announced: Announcement = {
      id: this.#id, kind, models: this.#offers, msPerImage: this.#msPerImage, draining: this.#stop.signal.aborted,
    }
    await this.redis.set(keys.worker(this.#id), JSON.stringify(announced), 'EX', announceSeconds)
    await this.redis.sadd(keys.workers, this.#id)
  }

  async #take(group: string): Promise<void> {
    if (this.#takers.has(group)) return
    const { bullmq } = await loadPackages()
    const taker = new bullmq.Worker(group, undefined, {
      connection: this.redis, prefix, autorun: false, lockDuration: lockMs, stalledInterval: stalledMs, maxStalledCount: 2,
    })
    taker.on('error', () => {})
    this.#takers.set(group, taker)
    await taker.waitUntilReady()
    await taker.startStalledCheckTimer()
  }
}

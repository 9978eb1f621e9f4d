import { randomUUID } from 'node:crypto'
import { Preview } from 'asdm'
import type { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { ServerError } from '../errors'
import type { ResultStore } from '../results/store'
import type { TaskContext } from '../tasks/runner'
import { resultOf, type Task } from '../tasks/task'
import { loadPackages } from './connection'
import { keys, prefix, priorityOf, rememberSeconds, type Announcement, type OfferedModel, type TaskData, type TaskMessage } from './protocol'

/** How often a task is looked at whose worker says nothing. */
const lookMs = 3000

const nextTurn = `
  local turn = math.max(tonumber(redis.call('get', KEYS[1]) or '0'), tonumber(redis.call('hget', KEYS[2], ARGV[1]) or '0')) + 1
  redis.call('hset', KEYS[2], ARGV[1], turn)
  redis.call('expire', KEYS[2], 86400)
  return turn`

/** Hands tasks to workers by queues on Redis, and waits for what comes of them. */
export class Front {
  readonly #redis: Redis
  readonly #listener: Redis
  readonly #store: ResultStore
  readonly #timeoutMs: number
  readonly #queues = new Map<string, Queue>()
  readonly #heard = new Map<string, Set<(message: TaskMessage) => void>>()

  constructor(redis: Redis, store: ResultStore, timeoutMs: number) {
    this.#redis = redis
    this.#listener = redis.duplicate()
    this.#listener.on('error', () => {})
    this.#store = store
    this.#timeoutMs = timeoutMs
    this.#listener.on('message', (channel: string, text: string) => {
      for (const hear of this.#heard.get(channel) ?? []) hear(JSON.parse(text) as TaskMessage)
    })
  }

  /** The workers that are there. */
  async workers(): Promise<Announcement[]> {
    const ids = await this.#redis.smembers(keys.workers)
    if (ids.length === 0) return []
    const texts = await this.#redis.mget(ids.map(keys.worker))
    const away = ids.filter((_, i) => texts[i] === null)
    if (away.length > 0) await this.#redis.srem(keys.workers, ...away)
    return texts.filter(text => text !== null).map(text => JSON.parse(text) as Announcement)
  }

  /** Sees to it that an image is made. @returns its name among the results */
  async perform(task: Task, context: TaskContext): Promise<string> {
    const { signal } = context
    const offer = await this.#place(task, signal)
    const result = resultOf(task, { model: offer.hash, kind: offer.kind, loras: task.loras.map(({ name }) => offer.loras[name]!) })
    if (await this.#store.has(result)) return result
    const id = result.slice(0, 64)
    const who = randomUUID()
    await this.#redis.sadd(keys.wanted(id), who)
    await this.#redis.expire(keys.wanted(id), rememberSeconds)
    try {
      await this.#wait(id, result, offer.group, task, context)
    } finally {
      // A server that stops leaves its tasks to the workers.
      const { code } = (signal.reason ?? {}) as { code?: string }
      if (!signal.aborted || code !== 'STOPPING') await this.#giveUp(id, who, offer.group, signal.aborted)
    }
    return result
  }

  async close(): Promise<void> {
    await Promise.all([...this.#queues.values()].map(queue => queue.close()))
    this.#listener.disconnect()
    this.#redis.disconnect()
  }

  /** Those who can, of them the kind that will be first. */
  async #place(task: Task, signal: AbortSignal): Promise<OfferedModel & { kind: string }> {
    for (;;) {
      signal.throwIfAborted()
      const groups = new Map<string, { offer: OfferedModel & { kind: string }, ms: number, machines: number }>()
      for (const { models, kind, draining, msPerImage } of await this.workers())
        for (const model of draining ? [] : models)
          if (model.name === task.model && task.loras.every(({ name }) => model.loras[name] !== undefined)) {
            const group = groups.get(model.group) ?? { offer: { ...model, kind }, ms: 0, machines: 0 }
            groups.set(model.group, { ...group, ms: Math.max(group.ms, msPerImage), machines: group.machines + 1 })
          }
      const waits = await Promise.all([...groups.values()].map(async ({ offer, ms, machines }) =>
        ({ offer, wait: groups.size === 1 ? 0 : (await (await this.#queue(offer.group)).count() + 1) * Math.max(ms, 1) / machines })))
      const [best] = waits.sort((a, b) => a.wait - b.wait)
      if (best !== undefined) return best.offer
      await sleep(500, signal)
    }
  }

  async #wait(id: string, result: string, group: string, task: Task, { job, signal, report }: TaskContext): Promise<void> {
    const queue = await this.#queue(group)
    let wake = (): void => {}
    const hear = (message: TaskMessage): void => {
      if (message.type === 'over') wake()
      else report({
        phase: message.phase, step: message.step, steps: message.steps, etaMs: message.etaMs,
        preview: message.previews?.map(({ rgba, width, height }) => new Preview(new Uint8ClampedArray(Buffer.from(rgba, 'base64')), width, height)),
      })
    }
    const { request: { client, preview, priority } } = job
    await this.#hear(keys.task(id), hear)
    try {
      for (let first = true; ; first = false) {
        signal.throwIfAborted()
        const state = await queue.getJobState(id)
        if (await this.#store.has(result)) return
        if (state === 'failed' && !first) throw failureOf((await queue.getJob(id))?.failedReason)
        // What failed for an earlier request is tried anew; what Redis has lost is handed in again.
        if (state === 'failed') await queue.remove(id)
        if (state === 'failed' || state === 'unknown' || state === 'completed') {
          if (state === 'completed') await queue.remove(id)
          const turn = Number(await this.#redis.eval(nextTurn, 2, keys.turn(group), keys.turns(group), client))
          await queue.add('image', { task, preview, timeoutMs: this.#timeoutMs, turn } satisfies TaskData, {
            jobId: id, priority: priorityOf(priority, turn), attempts: 3, backoff: { type: 'exponential', delay: 1000 }, removeOnComplete: true,
          })
          await this.#redis.publish(keys.wake, group)
        }
        await new Promise<void>(resolve => {
          const timer = setTimeout(resolve, lookMs)
          wake = (): void => {
            clearTimeout(timer)
            resolve()
          }
          signal.addEventListener('abort', wake, { once: true })
        })
      }
    } finally {
      await this.#unhear(keys.task(id), hear)
    }
  }

  async #giveUp(id: string, who: string, group: string, cancelled: boolean): Promise<void> {
    await this.#redis.srem(keys.wanted(id), who)
    if (!cancelled || await this.#redis.scard(keys.wanted(id)) > 0) return
    const queue = await this.#queue(group)
    // One that is being made is not removed; its worker is told.
    const removed = await queue.remove(id).catch(() => 0)
    if (removed === 0) await this.#redis.publish(keys.cancel, id)
  }

  async #queue(group: string): Promise<Queue> {
    const known = this.#queues.get(group)
    if (known !== undefined) return known
    const { bullmq } = await loadPackages()
    const queue = this.#queues.get(group) ?? new bullmq.Queue(group, { connection: this.#redis, prefix })
    queue.on('error', () => {})
    this.#queues.set(group, queue)
    return queue
  }

  async #hear(channel: string, hear: (message: TaskMessage) => void): Promise<void> {
    const all = this.#heard.get(channel) ?? new Set()
    this.#heard.set(channel, all.add(hear))
    await this.#listener.subscribe(channel)
  }

  async #unhear(channel: string, hear: (message: TaskMessage) => void): Promise<void> {
    const all = this.#heard.get(channel)
    all?.delete(hear)
    if (all?.size !== 0) return
    this.#heard.delete(channel)
    await this.#listener.unsubscribe(channel)
  }
}

/** What a worker said of a failure: `CODE: sentence`. */
function failureOf(reason: string | undefined): Error {
  const [, code, message] = /^([A-Z_]+): (.*)$/s.exec(reason ?? '') ?? []
  return code === undefined
    ? new ServerError('WORKER_LOST', 'Every worker that began this image was lost before it was made')
    : Object.assign(new ServerError('WORKER_FAILED', message ?? ''), { code })
}

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>(resolve => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    }, { once: true })
  })
}

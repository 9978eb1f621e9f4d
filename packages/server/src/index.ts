/**
 * An HTTP server for asdm: OpenAI's images API, AUTOMATIC1111's API, and jobs with previews as server-sent events.
 * @module
 */
import type { AddressInfo } from 'node:net'
import { AsdmError } from 'asdm'
import { createApp, createLog } from './http/app'
import { Metrics } from './http/metrics'
import { isRedis, openQueue } from './jobs/open'
import { ModelStore } from './models/store'
import { QueueWorker } from './redis/worker'
import { openResults } from './results/open'
import { parseOptions, type ServerOptions } from './options'

export type { ModelOptions, ServerOptions } from './options'

/** A server that listens. */
export interface Server {
  /** Where, as `http://127.0.0.1:7860`. */
  readonly url: string
  /**
   * Stops it: no more jobs are taken, those that wait are cancelled, the one that runs may end within `stopMs`; then connections are
   * closed and models freed. Twice is fine.
   */
  close(): Promise<void>
  /** {@link close}, at the end of an `await using` block. */
  [Symbol.asyncDispose](): Promise<void>
}

/** A worker that takes images off a queue. */
export interface Worker {
  /** Stops it: the image that is being made may be finished within `stopMs`, else another worker makes it. Twice is fine. */
  close(): Promise<void>
}

/**
 * Starts a worker, which makes images for the servers of the same queue on Redis. Of the options of a server it heeds those of models, the
 * queue, results, loading, memory, stops and the log.
 * @throws AsdmError `INVALID_ARGUMENT`, `PACKAGE_MISSING`
 */
export async function work(options: ServerOptions): Promise<Worker> {
  const settings = parseOptions(options)
  const { queue, results } = settings
  if (!isRedis(queue) || results === undefined)
    throw new AsdmError('INVALID_ARGUMENT', `Expected queue to be redis://… and results to be a folder but received ${JSON.stringify([queue, results])}`)
  const log = createLog(settings)
  const models = new ModelStore(settings, {
    loaded: (model, ms) => log.info({ model, ms: Math.round(ms) }, 'model loaded'),
    unloaded: model => log.info({ model }, 'model unloaded'),
    warning: (model, { code, message }) => log.warn({ model, code }, message),
  })
  const worker = await QueueWorker.start(queue, models, await openResults(results), settings, {
    made: ({ task: { model } }, result, ms) => log.info({ model, result, ms: Math.round(ms) }, 'image made'),
    failed: ({ task: { model } }, error) => log.warn({ model, err: error }, 'image failed'),
  })
  let closing: Promise<void> | undefined
  return { close: () => closing ??= worker.close().then(() => models.close()) }
}

/** How long a stop waits for clients that are slow to read their answers. */
const flushMs = 5000

/**
 * Starts a server.
 * @throws AsdmError `INVALID_ARGUMENT`; what listening gives, as `EADDRINUSE`
 */
export async function serve(options: ServerOptions): Promise<Server> {
  const settings = parseOptions(options)
  const log = createLog(settings)
  const metrics = new Metrics()
  const models = new ModelStore(settings, {
    loaded: (model, ms) => {
      metrics.loads.inc({ model })
      log.info({ model, ms: Math.round(ms) }, 'model loaded')
    },
    unloaded: model => log.info({ model }, 'model unloaded'),
    warning: (model, { code, message }) => log.warn({ model, code }, message),
  })
  const queue = await openQueue(settings, models, {
    ended: job => {
      metrics.ended(job)
      const { id, api, state, model, startedMs, finishedMs, images, error } = job
      const ms = startedMs === undefined ? undefined : (finishedMs ?? startedMs) - startedMs
      const details = { job: id, api, state, model, ms, images: images.length }
      if (state === 'failed') log.warn({ ...details, err: error }, 'job failed')
      else log.info(details, 'job ended')
    },
    failed: error => log.error({ err: error }, 'the end of a job could not be written down'),
  }, log)
  const { app, answering } = await createApp({ settings, models, queue, metrics }, log)
  await queue.restore()
  await app.listen({ host: settings.host, port: settings.port })
  const { address, port, family } = app.server.address() as AddressInfo
  const url = `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    await queue.stop()
    const began = Date.now()
    // Connections on which nothing was asked yet, or nothing is any more, would stay open for a minute.
    const timer = setInterval(() => {
      if (answering() === 0 || Date.now() - began > flushMs) app.server.closeAllConnections()
    }, 50)
    await app.close()
    clearInterval(timer)
    await models.close()
  }
  return { url, close: () => closing ??= close(), [Symbol.asyncDispose]: () => closing ??= close() }
}

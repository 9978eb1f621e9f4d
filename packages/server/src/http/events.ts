import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import type { Metrics } from './metrics'

/** A server-sent event; without data a comment, which keeps the connection open. */
export interface ServerEvent {
  event?: string
  data?: unknown
}

const comment = Buffer.from(': here\n\n')

/** How long a stream is silent at most. */
export const heartbeatMs = 15_000

/**
 * Sends events. The next one is made only when the client has room for it, so a slow client gets fewer, and one that is gone none.
 * @param events ends when the signal fires, which it does when the client is gone
 */
export function sendEvents(
  reply: FastifyReply, metrics: Metrics, events: (gone: AbortSignal) => AsyncGenerator<ServerEvent>,
): FastifyReply {
  const gone = new AbortController()
  metrics.eventClients.inc()
  reply.raw.once('close', () => {
    metrics.eventClients.dec()
    gone.abort()
  })
  reply.header('content-type', 'text/event-stream; charset=utf-8').header('x-accel-buffering', 'no')
  return reply.send(Readable.from(written(events(gone.signal)), { objectMode: false, highWaterMark: 1 }))
}

async function* written(events: AsyncGenerator<ServerEvent>): AsyncGenerator<Buffer> {
  // The answer's head goes out with the first bytes.
  yield comment
  for await (const { event, data } of events) {
    const name = event === undefined ? '' : `event: ${event}\n`
    yield data === undefined ? comment : Buffer.from(`${name}data: ${JSON.stringify(data)}\n\n`)
  }
}

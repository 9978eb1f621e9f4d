import type { FastifyInstance } from 'fastify'
import type { Context } from './app'

const tags = ['service']
const state = { type: 'object', required: ['status'], properties: { status: { type: 'string' } } } as const

/** What those who run the server ask: whether it lives, whether it takes jobs, its metrics, its OpenAPI document. */
export async function serviceRoutes(app: FastifyInstance, { queue, metrics, models }: Context): Promise<void> {
  metrics.watch(queue, models)
  app.get('/health', {
    schema: { tags, security: [], summary: 'Whether the process answers', response: { 200: state } },
  }, () => ({ status: 'ok' }))
  app.get('/ready', {
    schema: { tags, security: [], summary: 'Whether jobs are taken: 503 while the server stops or its queue is full', response: { 200: state, 503: state } },
  }, (_request, reply) => {
    const status = queue.stopping ? 'stopping' : queue.full ? 'full' : 'ready'
    return reply.code(status === 'ready' ? 200 : 503).send({ status })
  })
  app.get('/metrics', {
    schema: { tags, summary: 'Metrics in Prometheus\'s format', produces: ['text/plain'], response: { 200: { type: 'string' } } },
  }, async (_request, reply) => reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()))
  app.get('/openapi.json', { schema: { tags, summary: 'This document', response: { 200: { type: 'object', additionalProperties: true } } } }, () => app.swagger())
}

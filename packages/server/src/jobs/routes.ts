import { expandPlan, type ExpandedInherit, type ImageFormat, type Plan } from 'asdm'
import type { FastifyInstance } from 'fastify'
import { ServerError } from '../errors'
import { clientOf } from '../http/access'
import type { Context } from '../http/app'
import { heartbeatMs, sendEvents, type ServerEvent } from '../http/events'
import { checkRounds, mediaType } from '../images'
import type { Job } from './job'
import { errorAnswer, gridAnswer, gridBody, jobAnswer, jobBody } from './schemas'
import { requestOf, viewOf, type JobBody } from './view'

const tags = ['Jobs']
const errors = { '4xx': errorAnswer, '5xx': errorAnswer } as const
const idParam = { type: 'object', required: ['id'], properties: { id: { type: 'string', maxLength: 60 } } } as const
const job = { $ref: 'Job#' } as const

/** The server's own API: jobs with events, models, plans, statistics. */
export async function jobRoutes(app: FastifyInstance, context: Context): Promise<void> {
  const { queue, models, settings, metrics } = context
  app.addSchema(jobAnswer)

  app.post<{ Body: JobBody }>('/api/jobs', {
    schema: { tags, summary: 'Submits a job', body: jobBody, response: { 202: job, ...errors } },
  }, async (request, reply) => {
    const asked = { ...requestOf(request.body), client: clientOf(request) }
    checkRounds(asked.rounds, settings)
    const { name } = await models.find(asked.model)
    const made = await queue.submit({ ...asked, model: name }, 'jobs')
    return reply.code(202).header('location', `/api/jobs/${made.id}`).send(viewOf(made, queue))
  })
  app.get('/api/jobs', {
    schema: { tags, summary: 'Jobs: those that ended, the one that runs, those that wait', response: { 200: { type: 'array', items: job } } },
  }, () => queue.jobs.map(each => viewOf(each, queue)))
  app.get<{ Params: { id: string } }>('/api/jobs/:id', {
    schema: { tags, summary: 'A job', params: idParam, response: { 200: job, ...errors } },
  }, async request => viewOf(await queue.get(request.params.id), queue))
  app.delete<{ Params: { id: string } }>('/api/jobs/:id', {
    schema: { tags, summary: 'Cancels a job', params: idParam, response: { 202: job, ...errors } },
  }, async (request, reply) => {
    const found = await queue.get(request.params.id)
    found.cancel()
    return reply.code(202).send(viewOf(found, queue))
  })
  app.get<{ Params: { id: string } }>('/api/jobs/:id/events', {
    schema: {
      tags, params: idParam, produces: ['text/event-stream'], response: { ...errors },
      summary: 'Events: state (the job) and preview (its image as a data: URL), until the job ends. A slow client gets the newest only',
    },
  }, async (request, reply) => {
    const found = await queue.get(request.params.id)
    return sendEvents(reply, metrics, gone => eventsOf(found, () => viewOf(found, queue), gone))
  })
  app.get<{ Params: { id: string, file: string } }>('/api/jobs/:id/images/:file', {
    schema: {
      tags, summary: 'An image of a job: 0.png, 0.jpeg, 0.webp, 0.avif', produces: ['image/png', 'image/jpeg', 'image/webp', 'image/avif'],
      params: {
        type: 'object', required: ['id', 'file'],
        properties: { id: idParam.properties.id, file: { type: 'string', pattern: '^\\d{1,3}\\.(png|jpeg|webp|avif)$' } },
      },
      response: { ...errors },
    },
  }, async (request, reply) => {
    const { id, file } = request.params
    const [index, format] = file.split('.') as [string, ImageFormat]
    const image = (await queue.get(id)).images[Number(index)]
    if (image === undefined) throw new ServerError('NOT_FOUND', `Expected the number of an image of this job but received ${index}`)
    return reply.type(mediaType(format)).send(await image.toBuffer(format))
  })

  app.get('/api/models', {
    schema: { tags, summary: 'The models that can be asked for', response: { 200: { type: 'array', items: { type: 'object', additionalProperties: true } } } },
  }, async () => {
    const loaded = models.loaded()
    return (await models.list()).map(({ name }) => {
      const held = loaded.filter(each => each.name === name)
      const total = held.reduce((sum, { bytes }) => sum + bytes, 0)
      return { name, loaded: held.length > 0, bytes: total, inUse: held.some(({ inUse }) => inUse) }
    })
  })
  app.post<{ Body: { name: string } }>('/api/models/unload', {
    schema: {
      tags, summary: 'Unloads a model that no job runs',
      body: { type: 'object', required: ['name'], additionalProperties: false, properties: { name: { type: 'string', maxLength: 200 } } },
      response: { 200: { type: 'object', required: ['unloaded'], properties: { unloaded: { type: 'boolean' } } }, ...errors },
    },
  }, async request => ({ unloaded: await models.unload((await models.find(request.body.name)).name) }))
  app.post<{ Body: { plan: Plan, steps: number, guided?: boolean } }>('/api/plans/grid', {
    schema: { tags, summary: 'What a plan says for each step', body: gridBody, response: { 200: gridAnswer, ...errors } },
  }, request => gridOf(request.body.plan, request.body.steps, request.body.guided ?? true))
  app.get('/api/statistics', {
    schema: { tags, summary: 'What is loaded, waits and ended', response: { 200: { type: 'object', additionalProperties: true } } },
  }, () => {
    const states: Record<string, number> = {}
    for (const { state } of queue.jobs) states[state] = (states[state] ?? 0) + 1
    return { jobs: states, models: models.loaded(), memoryLimit: models.memoryLimit, uptimeMs: Math.round(process.uptime() * 1000) }
  })
}

/** The job's newest state whenever it has changed, and its newest preview; between them nothing piles up. */
async function* eventsOf(found: Job, view: () => unknown, gone: AbortSignal): AsyncGenerator<ServerEvent> {
  let version = 0
  while (!gone.aborted) {
    const { finished, progress, state } = found
    yield { event: 'state', data: view() }
    const { previews } = found
    if (previews.version > version && previews.images.length > 0) {
      version = previews.version
      yield { event: 'preview', data: { step: found.progress.step, images: await Promise.all(previews.images.map(image => image.toDataURL())) } }
    }
    if (finished) return
    // What has changed while the client was busy is sent at once.
    while (found.progress === progress && found.state === state && !gone.aborted) {
      await found.change(gone, heartbeatMs)
      if (found.progress === progress && found.state === state && !gone.aborted) yield {}
    }
  }
}

function gridOf(plan: Plan, count: number, guided: boolean) {
  const steps = expandPlan(plan, count, guided)
  const rows = new Map<string, number>()
  const rowOf = ({ prefix, feature }: ExpandedInherit): number => {
    const name = feature === 'output' ? prefix : `${prefix} ${feature}`
    const row = rows.get(name) ?? rows.size
    rows.set(name, row)
    return row
  }
  const expanded = steps.map(({ unet, guidance, inherit, choices = [] }) => ({
    unet, guidance, inherits: inherit.map(rowOf), choices: choices.flatMap(choice => choice.inherit.map(rowOf)),
  }))
  return { rows: [...rows.keys()], steps: expanded }
}

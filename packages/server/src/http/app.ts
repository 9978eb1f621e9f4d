import { randomUUID } from 'node:crypto'
import cors from '@fastify/cors'
import multipart from '@fastify/multipart'
import swagger from '@fastify/swagger'
import Fastify, { LogController, type FastifyError, type FastifyInstance, type FastifySchemaValidationError } from 'fastify'
import pino, { type Logger } from 'pino'
import { problemOf, type Problem } from '../errors'
import type { JobQueue } from '../jobs/queue'
import type { ModelStore } from '../models/store'
import type { Settings } from '../options'
import { jobRoutes } from '../jobs/routes'
import { openAIRoutes } from '../openai/routes'
import { sdRoutes } from '../sdapi/routes'
import { studioFiles } from '../studio/files'
import { studioRoutes } from '../studio/routes'
import { guardAccess } from './access'
import type { Metrics } from './metrics'
import { serviceRoutes } from './service'

/** What routes are made of. */
export interface Context {
  settings: Settings
  models: ModelStore
  queue: JobQueue
  metrics: Metrics
}

/** The server's log: lines of JSON, without prompts and tokens. */
export function createLog({ logLevel, log }: Settings): Logger {
  const options = { level: logLevel, base: { name: 'asdm' } }
  return log === undefined ? pino(options) : pino(options, { write: log })
}

/** Every route, with what all of them share; and how many requests are being answered. */
export async function createApp(context: Context, log: Logger): Promise<{ app: FastifyInstance, answering: () => number }> {
  const { settings, metrics } = context
  const app = Fastify({
    loggerInstance: log, logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: settings.bodyLimit, requestTimeout: 120_000,
    genReqId: ({ headers: { 'x-request-id': given } }) => typeof given === 'string' && /^[\w-]{1,64}$/.test(given) ? given : randomUUID(),
    // Nothing is bent to fit: what is not known is refused, and `null` is no number.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, verbose: true, allErrors: false } },
    schemaErrorFormatter: (errors, part) => new Error(sentence(errors[0], part)),
  }) as unknown as FastifyInstance
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const problem = logged(error, request.log)
    return reply.code(problem.status).send({ error: { code: problem.code, message: problem.message } })
  })
  app.setNotFoundHandler((request, reply) => reply.code(404).send({
    error: { code: 'NOT_FOUND', message: `Expected a route of GET /openapi.json but received ${request.method} ${request.url.slice(0, 100)}` },
  }))
  let answering = 0
  app.addHook('onRequest', async (request, reply) => {
    answering++
    reply.header('x-request-id', request.id).header('x-content-type-options', 'nosniff')
  })
  app.addHook('onResponse', async (request, reply) => {
    answering--
    const route = request.routeOptions.url ?? 'none'
    metrics.requestSeconds.observe({ method: request.method, route, status: reply.statusCode }, reply.elapsedTime / 1000)
    request.log.info({ method: request.method, route, status: reply.statusCode, ms: Math.round(reply.elapsedTime) }, 'answered')
  })
  if (settings.cors.length > 0) await app.register(cors, { origin: [...settings.cors], exposedHeaders: ['x-request-id', 'location'] })
  guardAccess(app, settings)
  // Pages may send texts anywhere without asking; JSON they may not.
  app.removeContentTypeParser('text/plain')
  await app.register(multipart, { limits: { fileSize: settings.bodyLimit, files: 17, fields: 40, fieldSize: 2 ** 20, parts: 57 } })
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'asdm', version: '0.1.0', description: 'Stable Diffusion: OpenAI\'s images API, AUTOMATIC1111\'s API, and jobs with events.' },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      ...(settings.token !== undefined && { security: [{ token: [] }] }),
    },
  })
  await app.register(serviceRoutes, context)
  await app.register(openAIRoutes, context)
  await app.register(sdRoutes, context)
  await app.register(jobRoutes, context)
  await app.register(studioRoutes, context)
  if (settings.studio) await app.register(studioFiles)
  await app.ready()
  return { app, answering: () => answering }
}

/** The answer to an error. What is the server's own fault is logged. */
export function logged(error: unknown, log: { error(details: object, message: string): void }): Problem {
  const problem = problemOf(error)
  if (problem.status >= 500 && problem.status !== 503) log.error({ err: error }, 'a request failed')
  return problem
}

/** What a JSON schema does not allow, in asdm's manner. */
function sentence(error: FastifySchemaValidationError | undefined, part: string): string {
  const { instancePath = '', message = 'to be valid', params = {}, keyword } = error ?? {}
  const place = `${part}${instancePath.replaceAll('/', '.')}`
  const what = message.replace(/^must NOT /, 'not to ').replace(/^must /, 'to ')
  if (keyword === 'additionalProperties') return `Expected ${place} to have only known properties but received ${JSON.stringify(params.additionalProperty)}`
  if (keyword === 'required') return `Expected ${place} to have ${JSON.stringify(params.missingProperty)} but it is missing`
  const choices = keyword === 'enum' ? `: ${(params.allowedValues as unknown[]).join(', ')}` : ''
  return `Expected ${place} ${what}${choices} but received ${brief((error as { data?: unknown } | undefined)?.data)}`
}

function brief(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 60))
  return value === null || typeof value !== 'object' ? String(value) : Array.isArray(value) ? `an array of ${value.length}` : 'an object'
}

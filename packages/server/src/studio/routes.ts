import { presetNames, readSettings } from 'asdm'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { ServerError } from '../errors'
import type { Context } from '../http/app'
import { bytesOfText, checkPixels } from '../images'
import { errorAnswer } from '../jobs/schemas'
import { costOf, type CostBody } from './cost'
import { describeModel, withModel, type SizedModel } from './model'
import { profileModel } from './profile'
import { assembleInto, recipesOfAsdm, type AssembleBody } from './recipes'
import {
  assembleBody, assembledAnswer, choicesAnswer, costAnswer, costBody, modelAnswer, profileAnswer, recipesAnswer, settingsAnswer,
  settingsBody, sizedBody,
} from './schemas'

const tags = ['Studio']
const errors = { '4xx': errorAnswer, '5xx': errorAnswer } as const

/** Fires when the client is gone, or has its answer. */
function goneOf(reply: FastifyReply): AbortSignal {
  const gone = new AbortController()
  reply.raw.once('close', () => gone.abort())
  return gone.signal
}

/** What the studio asks besides jobs: models in detail, what plans cost, profiles, recipes, and the settings of files. */
export async function studioRoutes(app: FastifyInstance, { models, queue, settings }: Context): Promise<void> {
  let profiling = false
  app.get('/api/choices', {
    schema: { tags, summary: 'LoRAs, presets and limits', response: { 200: choicesAnswer } },
  }, async () => ({
    loras: (await models.loras()).map(({ name }) => name), presets: [...presetNames],
    maxPixels: settings.maxPixels, maxImages: settings.maxImages,
  }))
  app.post<{ Body: SizedModel }>('/api/models/describe', {
    schema: { tags, summary: 'A model in detail; it is loaded for that', body: sizedBody, response: { 200: modelAnswer, ...errors } },
  }, async (request, reply) => {
    check(request.body)
    return withModel(models, request.body.model, goneOf(reply), (sd, name) => describeModel(sd, name, request.body, settings.load.dtype))
  })
  app.post<{ Body: CostBody }>('/api/plans/cost', {
    schema: {
      tags, summary: 'What a plan makes of a run: units, steps, multiply-accumulates, memory', body: costBody, response: { 200: costAnswer, ...errors },
    },
  }, async (request, reply) => {
    check(request.body)
    const signal = goneOf(reply)
    return withModel(models, request.body.model, signal, sd => costOf(sd, request.body, signal))
  })
  app.post<{ Body: SizedModel }>('/api/profile', {
    schema: { tags, summary: 'Times each unit of a guided UNet pass, by asdm profile', body: sizedBody, response: { 200: profileAnswer, ...errors } },
  }, async (request, reply) => {
    check(request.body)
    const { source } = await models.find(request.body.model)
    if (profiling || queue.running.length > 0) throw new ServerError('CONFLICT', 'Expected a machine at rest to measure on but a job or another profile runs')
    profiling = true
    try {
      return await profileModel(source, request.body, settings.load, goneOf(reply))
    } finally {
      profiling = false
    }
  })
  app.get('/api/recipes', {
    schema: { tags, summary: 'The recipes that asdm ships', response: { 200: recipesAnswer } },
  }, async () => ({ recipes: await recipesOfAsdm(), assemble: settings.assemble && settings.models !== undefined }))
  app.post<{ Body: AssembleBody }>('/api/recipes/assemble', {
    schema: { tags, summary: 'Assembles a model into the folder that is served', body: assembleBody, response: { 200: assembledAnswer, ...errors } },
  }, async (request, reply) => {
    if (!settings.assemble) throw new ServerError('FORBIDDEN', 'Expected a server that assembles models; start it with --assemble')
    return { name: await assembleInto(settings.models, models, request.body, goneOf(reply)) }
  })
  app.post<{ Body: { image: string } }>('/api/settings', {
    schema: { tags, summary: 'The settings in a PNG, asdm\'s or AUTOMATIC1111\'s', body: settingsBody, response: { 200: settingsAnswer, ...errors } },
  }, async request => {
    const found = await readSettings(bytesOfText(request.body.image, 'image'))
    return { ...(found !== undefined && { settings: plain(found) }) }
  })

  function check({ width, height }: SizedModel): void {
    checkPixels(width, height, settings.maxPixels)
  }
}

/** As JSON, a seed beyond 2^53 as text. */
function plain(value: object): object {
  return JSON.parse(JSON.stringify(value, (_key, each: unknown) => (typeof each === 'bigint' ? String(each) : each))) as object
}

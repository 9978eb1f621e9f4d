import os from 'node:os'
import type { FastifyError, FastifyInstance, FastifyReply } from 'fastify'
import { clientOf } from '../http/access'
import { logged, type Context } from '../http/app'
import { bad, bytesOfText, checkRounds } from '../images'
import type { Job } from '../jobs/job'
import { labelOf, samplers, schedulers } from './names'
import { roundsOf, type SdBody } from './request'
import { anything, errorAnswer, img2imgBody, imagesAnswer, list, txt2imgBody } from './schemas'
import { textsOfPng } from './texts'

const tags = ['AUTOMATIC1111']
const errors = { '4xx': errorAnswer, '5xx': errorAnswer } as const

/** Options that can be set, and what they are until then. */
interface Options {
  sd_model_checkpoint?: string
  CLIP_stop_at_last_layers: number
}

/** The API of AUTOMATIC1111's web UI. */
export async function sdRoutes(app: FastifyInstance, context: Context): Promise<void> {
  const { queue, models } = context
  const options: Options = { CLIP_stop_at_last_layers: 1 }
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const { status, code, message } = logged(error, request.log)
    return reply.code(status === 400 ? 422 : status).send({ error: code, detail: message, body: '', errors: message })
  })
  // Clients send `null` for what they leave out.
  app.addHook('preValidation', async request => {
    const body = request.body as Record<string, unknown> | null | undefined
    if (body !== null && typeof body === 'object') for (const key of Object.keys(body)) if (body[key] === null) Reflect.deleteProperty(body, key)
  })

  const answer = async (body: SdBody, reply: FastifyReply, client: string): Promise<unknown> => {
    const merged = { ...options, ...checkOptions(body.override_settings ?? {}) }
    const clipSkip = merged.CLIP_stop_at_last_layers === 1 ? undefined : merged.CLIP_stop_at_last_layers - 1
    const { rounds, loras, seed } = roundsOf(body, clipSkip)
    checkRounds(rounds, context.settings)
    const { name } = await models.find(merged.sd_model_checkpoint)
    const job = await queue.submit({ model: name, loras, rounds, preview: true, priority: 0, client }, 'sdapi')
    reply.raw.once('close', () => { if (!reply.raw.writableFinished) job.cancel() })
    // What was made before an interrupt is given.
    const images = await job.result().catch((error: unknown) => {
      if (job.problem?.code !== 'CANCELLED' || reply.raw.destroyed) throw error
      return job.images
    })
    const files = await Promise.all(images.map(async image => image.png()))
    const { init_images: _images, mask: _mask, ...parameters } = body
    return {
      images: body.send_images === false ? [] : files.map(file => file.toString('base64')), parameters,
      info: infoOf(job, files.map(file => textsOfPng(file).get('parameters') ?? ''), seed),
    }
  }
  app.post<{ Body: SdBody }>('/sdapi/v1/txt2img', {
    schema: { tags, summary: 'Images of a text', body: txt2imgBody, response: { 200: imagesAnswer, ...errors } },
  }, async (request, reply) => {
    if (request.body.init_images !== undefined) throw bad('init_images only in img2img', 'some in txt2img')
    return answer(request.body, reply, clientOf(request))
  })
  app.post<{ Body: SdBody }>('/sdapi/v1/img2img', {
    schema: { tags, summary: 'Images of an image and a text', body: img2imgBody, response: { 200: imagesAnswer, ...errors } },
  }, async (request, reply) => answer(request.body, reply, clientOf(request)))

  const current = (): Job | undefined => queue.running.find(({ api }) => api === 'sdapi')
  app.get('/sdapi/v1/progress', { schema: { tags, summary: 'How far the running request is, with a preview', response: { 200: anything } } }, async () => {
    const job = current()
    const { fraction = 0, etaMs, round = 0, rounds = 0, step = 0, steps = 0 } = job?.progress ?? {}
    const [preview] = job?.previews.images ?? []
    return {
      progress: fraction, eta_relative: (etaMs ?? 0) / 1000, textinfo: null,
      state: {
        skipped: job?.skipped ?? false, interrupted: job?.signal.aborted ?? false, job: job?.id ?? '', job_count: rounds, job_no: round,
        job_timestamp: timestamp(job?.createdMs ?? 0), sampling_step: step, sampling_steps: steps,
      },
      current_image: preview === undefined ? null : (await preview.png()).toString('base64'),
    }
  })
  app.post('/sdapi/v1/interrupt', { schema: { tags, summary: 'Ends the running request, which gives what it has', response: { 200: anything } } }, () => {
    current()?.cancel()
    return {}
  })
  app.post('/sdapi/v1/skip', { schema: { tags, summary: 'Goes on with the next batch', response: { 200: anything } } }, () => {
    current()?.skip()
    return {}
  })

  app.get('/sdapi/v1/options', { schema: { tags, summary: 'Settings of every request', response: { 200: anything } } }, async () => ({
    ...options, sd_model_checkpoint: options.sd_model_checkpoint ?? (await models.list())[0]?.name ?? null,
  }))
  app.post<{ Body: Record<string, unknown> }>('/sdapi/v1/options', {
    schema: { tags, summary: 'Sets the model, or how many layers of the text encoder count', body: anything, response: { 200: anything, ...errors } },
  }, async request => {
    const given = checkOptions(request.body)
    if (given.sd_model_checkpoint !== undefined) await models.find(given.sd_model_checkpoint)
    Object.assign(options, given)
    return {}
  })
  app.get('/sdapi/v1/samplers', { schema: { tags, summary: 'Samplers', response: { 200: list } } }, () =>
    samplers.map(([name, own]) => ({ name, aliases: [own], options: {} })))
  app.get('/sdapi/v1/schedulers', { schema: { tags, summary: 'Noise schedules', response: { 200: list } } }, () =>
    schedulers.map(([name, label]) => ({ name, label, aliases: null, default_rho: -1, need_inner_model: false })))
  app.get('/sdapi/v1/sd-models', { schema: { tags, summary: 'Models', response: { 200: list } } }, async () =>
    (await models.list()).map(({ name, source }) =>
      ({ title: name, model_name: name, hash: null, sha256: null, filename: source, config: null })))
  app.get('/sdapi/v1/loras', { schema: { tags, summary: 'LoRAs', response: { 200: list } } }, async () =>
    (await models.loras()).map(({ name, path }) => ({ name, alias: name, path, metadata: {} })))
  app.post<{ Body: { image: string } }>('/sdapi/v1/png-info', {
    schema: {
      tags, summary: 'What a PNG says of its settings', response: { 200: anything, ...errors },
      body: { type: 'object', required: ['image'], properties: { image: { type: 'string' } } },
    },
  }, request => {
    const texts = textsOfPng(bytesOfText(request.body.image, 'image'))
    const info = texts.get('parameters') ?? ''
    return { info, items: Object.fromEntries(texts), parameters: {} }
  })
  app.get('/sdapi/v1/memory', { schema: { tags, summary: 'Memory of the machine', response: { 200: anything } } }, () => ({
    ram: { free: os.freemem(), used: process.memoryUsage.rss(), total: os.totalmem() }, cuda: { error: 'asdm runs on the CPU' },
  }))
}

/** @throws AsdmError `INVALID_ARGUMENT` for an option that is not known, since it would change images there */
function checkOptions(given: Record<string, unknown>): Partial<Options> {
  const found: Partial<Options> = {}
  for (const [name, value] of Object.entries(given))
    if (name === 'sd_model_checkpoint' && typeof value === 'string') found.sd_model_checkpoint = value
    else if (name === 'CLIP_stop_at_last_layers' && typeof value === 'number' && Number.isInteger(value) && value >= 1) found[name] = value
    else throw bad('options to be sd_model_checkpoint, a model, or CLIP_stop_at_last_layers, 1 or more,', JSON.stringify(name.slice(0, 60)))
  return found
}

/** What clients read of the answer, as JSON in a text. */
function infoOf({ images, request: { rounds }, model, createdMs }: Job, infotexts: string[], seed: number): string {
  const [round] = rounds
  const settings = images.map(image => image.settings)
  const seeds = settings.map(each => Number(each.seed))
  const [first] = settings
  const prompt = first?.prompt ?? round?.prompt ?? ''
  const negative = first?.negativePrompt ?? round?.negativePrompt ?? ''
  return JSON.stringify({
    prompt, all_prompts: seeds.map(() => prompt), negative_prompt: negative, all_negative_prompts: seeds.map(() => negative),
    seed: seeds[0] ?? seed, all_seeds: seeds, subseed: seeds[0] ?? seed, all_subseeds: seeds, subseed_strength: 0,
    width: first?.width ?? round?.width, height: first?.height ?? round?.height, sampler_name: labelOf(first?.sampler ?? round?.sampler),
    cfg_scale: first?.guidanceScale ?? round?.guidanceScale, steps: first?.steps ?? round?.steps, batch_size: round?.count ?? 1,
    restore_faces: false, face_restoration_model: null, sd_model_name: model, sd_model_hash: '', sd_vae_name: null, sd_vae_hash: null,
    seed_resize_from_w: -1, seed_resize_from_h: -1, denoising_strength: first?.strength ?? 0, extra_generation_params: {},
    index_of_first_image: 0, infotexts, styles: [], job_timestamp: timestamp(createdMs), clip_skip: (first?.clipSkip ?? 0) + 1,
    is_using_inpainting_conditioning: false, version: 'asdm',
  })
}

/** `20260131235959`. */
function timestamp(ms: number): string {
  return ms === 0 ? '0' : new Date(ms).toISOString().replaceAll(/\D/g, '').slice(0, 14)
}

import type { GeneratedImage, ImageFormat } from 'asdm'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { clientOf } from '../http/access'
import type { Context } from '../http/app'
import { heartbeatMs, sendEvents, type ServerEvent } from '../http/events'
import { bad, checkRounds } from '../images'
import type { Job, Round } from '../jobs/job'
import { problemOf } from '../errors'

/** What both routes take. */
export interface ImagesBody {
  prompt: string
  model?: string
  n?: number
  size?: string
  response_format?: 'b64_json' | 'url'
  output_format?: 'png' | 'jpeg' | 'webp'
  output_compression?: number
  stream?: boolean
  partial_images?: number
  negative_prompt?: string
  steps?: number
  seed?: number
  guidance_scale?: number
  sampler?: string
  plan?: string
  strength?: number
}

/** Runs a request of either route and answers it. @param kind begins the names of events */
export async function answerImages(
  context: Context, request: FastifyRequest, reply: FastifyReply, body: ImagesBody, kind: 'image_generation' | 'image_edit',
  extra: Partial<Round>,
): Promise<unknown> {
  const { queue, models, settings } = context
  const format = body.output_format ?? 'png'
  if (body.output_compression !== undefined && format === 'png' && body.output_compression !== 100)
    throw bad('output_compression only with jpeg or webp', `${body.output_compression} with png`)
  if (body.stream === true && body.response_format === 'url') throw bad('response_format b64_json in a stream', '"url"')
  const round = roundOf(body, extra)
  checkRounds([round], settings)
  const model = await models.find(body.model)
  const partials = body.stream === true ? body.partial_images ?? 0 : 0
  const asked = { model: model.name, loras: [], rounds: [round], preview: partials > 0, priority: 0, client: clientOf(request) }
  const job = await queue.submit(asked, 'openai')
  // A client that has gone needs no images.
  reply.raw.once('close', () => { if (!reply.raw.writableFinished) job.cancel() })
  const encode = async (image: GeneratedImage): Promise<string> => {
    const quality = format === 'png' || body.output_compression === undefined ? {} : { quality: Math.max(1, body.output_compression) }
    return (await image.toBuffer(format, quality)).toString('base64')
  }
  if (body.stream === true) return sendEvents(reply, context.metrics, gone => streamed(job, kind, format, partials, encode, gone))
  const images = await job.result()
  const base = `${request.protocol}://${request.host}/api/jobs/${job.id}/images`
  const data = await Promise.all(images.map(async (image, i) =>
    body.response_format === 'url' ? { url: `${base}/${i}.${format}` } : { b64_json: await encode(image) }))
  const [first] = images
  return {
    created: Math.floor(Date.now() / 1000), data, output_format: format, background: 'opaque',
    ...(first !== undefined && { size: `${first.width}x${first.height}` }),
  }
}

function roundOf(body: ImagesBody, extra: Partial<Round>): Round {
  const { prompt, n, size, negative_prompt, steps, seed, guidance_scale, sampler, plan } = body
  const [width, height] = size === undefined || size === 'auto' ? [] : size.split('x').map(Number)
  return {
    prompt, negativePrompt: negative_prompt, count: n, steps, guidanceScale: guidance_scale, sampler, plan, seed, ...extra,
    ...(width !== undefined && { width, height }),
  }
}

/** Partial images at even distances, then the images. */
async function* streamed(
  job: Job, kind: string, format: ImageFormat, partials: number, encode: (image: GeneratedImage) => Promise<string>, gone: AbortSignal,
): AsyncGenerator<ServerEvent> {
  let sent = 0
  let version = 0
  const event = (type: string, fields: object): ServerEvent => ({
    event: type,
    data: { type, created_at: Math.floor(Date.now() / 1000), output_format: format, background: 'opaque', ...fields },
  })
  try {
    while (!job.finished && !gone.aborted) {
      const before = job.progress
      await job.change(gone, heartbeatMs)
      if (job.progress === before) yield {}
      const { progress: { step, steps }, previews } = job
      if (sent >= partials || previews.version === version || step < (sent + 1) * steps / (partials + 1)) continue
      version = previews.version
      for (const preview of previews.images.slice(0, 1))
        yield event(`${kind}.partial_image`, {
          b64_json: (await preview.png()).toString('base64'), partial_image_index: sent, size: `${preview.width}x${preview.height}`,
        })
      sent++
    }
    if (gone.aborted) return
    for (const image of await job.result())
      yield event(`${kind}.completed`, { b64_json: await encode(image), size: `${image.width}x${image.height}` })
  } catch (error) {
    const { code, message } = problemOf(error)
    yield { event: 'error', data: { type: 'error', error: { type: 'server_error', code, message, param: null } } }
  }
}

import type { FastifyError, FastifyInstance, FastifyRequest } from 'fastify'
import type { Context } from '../http/app'
import { logged } from '../http/app'
import { bad, checkPixels, maskOfAlpha, sizeOfPng } from '../images'
import { answerImages, type ImagesBody } from './images'
import { editFields, errorAnswer, generationBody, imagesAnswer, modelsAnswer } from './schemas'

const tags = ['OpenAI']

/** OpenAI's images API. */
export async function openAIRoutes(app: FastifyInstance, context: Context): Promise<void> {
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const { status, code, message } = logged(error, request.log)
    if (status === 503) reply.header('retry-after', '5')
    return reply.code(status).send({ error: { message, type: status < 500 ? 'invalid_request_error' : 'server_error', param: null, code } })
  })
  // `null` is OpenAI's word for what is left out.
  app.addHook('preValidation', async request => {
    const body = request.body as Record<string, unknown> | null | undefined
    if (body !== null && typeof body === 'object') for (const key of Object.keys(body)) if (body[key] === null) Reflect.deleteProperty(body, key)
  })

  app.get('/v1/models', { schema: { tags, summary: 'The models that can be asked for', response: { 200: modelsAnswer } } }, async () => ({
    object: 'list',
    data: (await context.models.list()).map(({ name, changedMs }) =>
      ({ id: name, object: 'model', created: Math.floor(changedMs / 1000), owned_by: 'asdm' })),
  }))
  app.post<{ Body: ImagesBody }>('/v1/images/generations', {
    schema: { tags, summary: 'Generates images', body: generationBody, response: { 200: imagesAnswer, '4xx': errorAnswer, '5xx': errorAnswer } },
  }, async (request, reply) => answerImages(context, request, reply, request.body, 'image_generation', {}))
  app.post('/v1/images/edits', {
    schema: {
      tags, consumes: ['multipart/form-data'], response: { 200: imagesAnswer, '4xx': errorAnswer, '5xx': errorAnswer },
      summary: 'Repaints an image, or where a mask is transparent; a form with the fields of generations, image, mask, strength',
    },
  }, async (request, reply) => {
    const { fields, image, mask } = await readForm(request)
    const body = checkFields(request, fields)
    const { maxPixels } = context.settings
    const area = await maskOfAlpha(mask ?? image, maxPixels).catch((error: unknown) => {
      // Only PNGs have what makes an image its own mask.
      if (mask !== undefined) throw error
      return undefined
    })
    if (mask !== undefined && area === undefined) throw bad('a mask that is transparent where the image is repainted', 'an opaque one')
    return answerImages(context, request, reply, body, 'image_edit', {
      image, strength: body.strength ?? (area === undefined ? 0.8 : 1), ...(area !== undefined && { mask: area, keepOutside: true }),
      ...(body.size === undefined || body.size === 'auto' ? sizeOf(image, maxPixels) : {}),
    })
  })
}

/** The image's own size, in multiples of the VAE's factor; the model's where it cannot be told or is too large. */
function sizeOf(image: Buffer, maxPixels: number): { width: number, height: number } | undefined {
  const size = sizeOfPng(image)
  if (size === undefined || size.width < 8 || size.height < 8) return undefined
  try {
    checkPixels(size.width, size.height, maxPixels)
  } catch {
    return undefined
  }
  return { width: size.width - size.width % 8, height: size.height - size.height % 8 }
}

async function readForm(request: FastifyRequest): Promise<{ fields: Record<string, unknown>, image: Buffer, mask: Buffer | undefined }> {
  if (!request.isMultipart()) throw bad('multipart/form-data', JSON.stringify(request.headers['content-type'] ?? ''))
  const fields: Record<string, unknown> = {}
  const files = new Map<string, Buffer>()
  for await (const part of request.parts()) {
    const name = part.fieldname.replace(/\[\]$/, '')
    if (part.type === 'field') {
      fields[name] = part.value
    } else {
      if (name !== 'image' && name !== 'mask') throw bad('files named image or mask', JSON.stringify(name.slice(0, 60)))
      if (files.has(name)) throw bad(`one ${name}, since Stable Diffusion edits one at a time,`, 'several')
      files.set(name, await part.toBuffer())
    }
  }
  const image = files.get('image')
  if (image === undefined) throw bad('a file named image', 'none')
  return { fields, image, mask: files.get('mask') }
}

/** A form's texts as what the schema says they are. */
function checkFields(request: FastifyRequest, fields: Record<string, unknown>): ImagesBody {
  const kinds = editFields.properties as Readonly<Record<string, { type: string } | undefined>>
  const read = Object.fromEntries(Object.entries(fields).map(([name, value]) => {
    const type = Object.hasOwn(kinds, name) ? kinds[name]?.type : undefined
    if (typeof value !== 'string') return [name, value]
    if (type === 'integer' || type === 'number') return [name, value.trim() === '' ? value : Number(value)]
    return [name, type === 'boolean' && /^(true|false)$/.test(value) ? value === 'true' : value]
  }))
  const validate = request.compileValidationSchema(editFields)
  if (validate(read)) return read as unknown as ImagesBody
  const [error] = validate.errors ?? []
  throw bad(`the form${(error?.instancePath ?? '').replaceAll('/', '.')} ${(error?.message ?? 'to be valid').replace(/^must /, 'to ')}`, 'another value')
}

/** What OpenAI's images API takes, as JSON schemas; `null` stands for what is left out, and is taken out before. */

const nullable = (schema: object): object => ({ anyOf: [schema, { type: 'null' }] })
const text = (maxLength = 64) => ({ type: 'string', maxLength })

/** Properties that both routes share. */
const shared = {
  prompt: { type: 'string', minLength: 1, maxLength: 32_000, description: 'What the image shows' },
  model: { ...text(200), description: 'One of GET /v1/models; the first if left out' },
  n: { type: 'integer', minimum: 1, maximum: 256, description: 'How many images; 1 if left out' },
  size: { type: 'string', pattern: '^(auto|[1-9]\\d{0,4}x[1-9]\\d{0,4})$', description: 'As 512x512; the model\'s own, or the image\'s, if left out' },
  response_format: { type: 'string', enum: ['b64_json', 'url'], description: 'b64_json if left out' },
  output_format: { type: 'string', enum: ['png', 'jpeg', 'webp'], description: 'png if left out; the others need the package sharp' },
  output_compression: { type: 'integer', minimum: 0, maximum: 100, description: 'Quality of JPEG and WebP' },
  stream: { type: 'boolean', description: 'Sends events: partial images, then each image' },
  partial_images: { type: 'integer', minimum: 0, maximum: 3, description: 'How many small previews a stream has; 0 if left out' },
  user: text(512),
  quality: { type: 'string', enum: ['auto', 'standard', 'hd', 'low', 'medium', 'high'], description: 'Read by none: steps decides' },
  background: { type: 'string', enum: ['auto', 'opaque'] },
  moderation: { type: 'string', enum: ['auto', 'low'] },
  // What OpenAI does not have.
  negative_prompt: { type: 'string', maxLength: 32_000, description: 'What the image must not show' },
  steps: { type: 'integer', minimum: 1, maximum: 1000 },
  seed: { type: 'integer', minimum: -1, maximum: Number.MAX_SAFE_INTEGER },
  guidance_scale: { type: 'number', minimum: 0, maximum: 1000 },
  sampler: text(100),
  plan: { type: 'string', maxLength: 1000, description: 'What steps inherit, as deepcache:3,0' },
} as const

/** Body of `POST /v1/images/generations`. */
export const generationBody = {
  type: 'object', required: ['prompt'], additionalProperties: false,
  properties: { ...shared, style: { type: 'string', enum: ['vivid', 'natural'] } },
} as const

/** Body of `POST /v1/images/edits`, once the multipart form is read. */
export const editFields = {
  type: 'object', required: ['prompt'], additionalProperties: false,
  properties: {
    ...shared,
    input_fidelity: { type: 'string', enum: ['high', 'low'] },
    strength: { type: 'number', minimum: 0, maximum: 1, description: 'How much of the image is repainted; 0.8 if left out, 1 with a mask' },
  },
} as const

const image = {
  type: 'object', properties: { b64_json: { type: 'string' }, url: { type: 'string' } },
} as const

/** The answer with images. */
export const imagesAnswer = {
  type: 'object', required: ['created', 'data'],
  properties: {
    created: { type: 'integer' }, data: { type: 'array', items: image }, size: { type: 'string' }, output_format: { type: 'string' },
    background: { type: 'string' },
  },
} as const

/** The answer with models. */
export const modelsAnswer = {
  type: 'object', required: ['object', 'data'],
  properties: { object: { type: 'string' }, data: { type: 'array', items: { type: 'object', additionalProperties: true } } },
} as const

/** An error of this API. */
export const errorAnswer = {
  type: 'object', required: ['error'],
  properties: {
    error: {
      type: 'object', required: ['message', 'type', 'code'],
      properties: { message: { type: 'string' }, type: { type: 'string' }, code: { type: 'string' }, param: nullable({ type: 'string' }) },
    },
  },
} as const

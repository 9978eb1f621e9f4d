/** AUTOMATIC1111's API as JSON schemas. Clients send much that other programs' extensions read, so unknown names are passed over. */

const integer = (minimum: number, maximum: number) => ({ type: 'integer', minimum, maximum })
const text = { type: 'string', maxLength: 32_000 }

const shared = {
  prompt: text, negative_prompt: text, seed: integer(-1, Number.MAX_SAFE_INTEGER), sampler_name: { type: 'string', maxLength: 100 },
  sampler_index: { type: 'string', maxLength: 100 }, scheduler: { type: 'string', maxLength: 100 }, batch_size: integer(1, 256),
  n_iter: integer(1, 256), steps: integer(1, 1000), cfg_scale: { type: 'number', minimum: 0, maximum: 1000 }, width: integer(8, 65_536),
  height: integer(8, 65_536), eta: { type: 'number', minimum: 0, maximum: 1 },
  denoising_strength: { type: 'number', minimum: 0, maximum: 1 }, override_settings: { type: 'object', additionalProperties: true },
  send_images: { type: 'boolean' },
} as const

/** Body of txt2img. */
export const txt2imgBody = { type: 'object', additionalProperties: true, properties: shared } as const

/** Body of img2img. */
export const img2imgBody = {
  type: 'object', required: ['init_images'], additionalProperties: true,
  properties: {
    ...shared, init_images: { type: 'array', items: { type: 'string' } }, mask: { type: 'string' },
    resize_mode: integer(0, 3), inpainting_fill: integer(0, 3), mask_blur: integer(0, 64), inpaint_full_res: { anyOf: [{ type: 'boolean' }, integer(0, 1)] },
  },
} as const

/** Answer of both. */
export const imagesAnswer = {
  type: 'object', required: ['images', 'parameters', 'info'],
  properties: {
    images: { type: 'array', items: { type: 'string' } }, parameters: { type: 'object', additionalProperties: true }, info: { type: 'string' },
  },
} as const

/** Any object, and a list of them. */
export const anything = { type: 'object', additionalProperties: true } as const
export const list = { type: 'array', items: anything } as const

/** An error of this API. */
export const errorAnswer = {
  type: 'object', required: ['error', 'detail'],
  properties: { error: { type: 'string' }, detail: { type: 'string' }, body: { type: 'string' }, errors: { type: 'string' } },
} as const

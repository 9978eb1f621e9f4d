/** The job API's JSON schemas; names are those of asdm's `GenerateOptions`. */

const texts = (description: string) => ({
  description, anyOf: [{ type: 'string', maxLength: 32_000 }, { type: 'array', minItems: 1, maxItems: 256, items: { type: 'string', maxLength: 32_000 } }],
})
const side = { type: 'integer', minimum: 8, maximum: 65_536 }
const seed = { anyOf: [{ type: 'integer', minimum: -1, maximum: Number.MAX_SAFE_INTEGER }, { type: 'string', pattern: '^\\d{1,20}$' }] }
const plan = { description: 'A plan, or its text as deepcache:3,0', anyOf: [{ type: 'string', maxLength: 100_000 }, { type: 'object', additionalProperties: true }] }

/** Body of `POST /api/jobs`. */
export const jobBody = {
  type: 'object', required: ['prompt'], additionalProperties: false,
  properties: {
    model: { type: 'string', maxLength: 200, description: 'One of GET /api/models; the first if left out' },
    loras: {
      type: 'array', maxItems: 16,
      items: {
        type: 'object', required: ['name'], additionalProperties: false,
        properties: { name: { type: 'string', maxLength: 200 }, weight: { type: 'number', minimum: -10, maximum: 10 } },
      },
    },
    prompt: texts('What the image shows'), negativePrompt: texts('What it must not show'),
    guidanceScale: { type: 'number', minimum: 0, maximum: 1000 }, steps: { type: 'integer', minimum: 1, maximum: 1000 },
    sampler: { type: 'string', maxLength: 100 }, eta: { type: 'number', minimum: 0, maximum: 1 },
    seed: { anyOf: [...seed.anyOf, { type: 'array', minItems: 1, maxItems: 256, items: seed }] },
    seeds: { type: 'string', enum: ['same-generator', 'per-image'] }, width: side, height: side,
    count: { type: 'integer', minimum: 1, maximum: 256 }, index: { type: 'integer', minimum: 0, maximum: 255 },
    image: { type: 'string', description: 'Base64, or a data: URL' }, mask: { type: 'string', description: 'Likewise; white is repainted' },
    fit: { type: 'string', enum: ['cover', 'contain', 'stretch'] }, keepOutside: { type: 'boolean' },
    strength: { type: 'number', minimum: 0, maximum: 1 }, clipSkip: { type: 'integer', minimum: 0, maximum: 24 },
    promptWeighting: { type: 'boolean' }, longPrompts: { type: 'boolean' }, plan,
    preview: { type: 'boolean', description: 'Makes previews; false if left out' },
    priority: { type: 'number', minimum: -1000, maximum: 1000, description: 'Jobs of higher priority run first; 0 if left out' },
  },
} as const

/** A job. */
export const jobAnswer = {
  $id: 'Job', type: 'object',
  required: ['id', 'api', 'state', 'createdMs', 'progress', 'images'],
  properties: {
    id: { type: 'string' }, api: { type: 'string', enum: ['openai', 'sdapi', 'jobs'] },
    state: { type: 'string', enum: ['waiting', 'loading', 'running', 'done', 'failed', 'cancelled'] },
    model: { type: 'string' }, position: { type: 'integer', description: 'Jobs that run before this one; of those that wait' },
    createdMs: { type: 'number' }, startedMs: { type: 'number' }, finishedMs: { type: 'number' },
    progress: {
      type: 'object', required: ['round', 'rounds', 'step', 'steps', 'fraction'],
      properties: {
        phase: { type: 'string' }, round: { type: 'integer' }, rounds: { type: 'integer' }, step: { type: 'integer' }, steps: { type: 'integer' },
        fraction: { type: 'number' }, etaMs: { type: 'number' },
      },
    },
    images: {
      type: 'array',
      items: {
        type: 'object', required: ['url', 'width', 'height', 'settings'],
        properties: {
          url: { type: 'string' }, width: { type: 'integer' }, height: { type: 'integer' }, settings: { type: 'object', additionalProperties: true },
        },
      },
    },
    statistics: { type: 'array', items: { type: 'object', additionalProperties: true } },
    error: { type: 'object', required: ['code', 'message'], properties: { code: { type: 'string' }, message: { type: 'string' } } },
  },
} as const

/** Body of `POST /api/plans/grid`. */
export const gridBody = {
  type: 'object', required: ['plan', 'steps'], additionalProperties: false,
  properties: {
    plan: { type: 'object', additionalProperties: true }, steps: { type: 'integer', minimum: 1, maximum: 1000 },
    guided: { type: 'boolean', description: 'Whether guidance runs; true if left out' },
  },
} as const

/** What a plan says for each step. */
export const gridAnswer = {
  type: 'object', required: ['rows', 'steps'],
  properties: {
    rows: { type: 'array', description: 'What some step inherits', items: { type: 'string' } },
    steps: {
      type: 'array',
      items: {
        type: 'object', required: ['unet', 'guidance', 'inherits', 'choices'],
        properties: {
          unet: { type: 'string' }, guidance: { type: 'string' },
          inherits: { type: 'array', description: 'Numbers of rows', items: { type: 'integer' } },
          choices: { type: 'array', description: 'Rows that adaptive rules may inherit', items: { type: 'integer' } },
        },
      },
    },
  },
} as const

/** An error. */
export const errorAnswer = {
  type: 'object', required: ['error'],
  properties: { error: { type: 'object', required: ['code', 'message'], properties: { code: { type: 'string' }, message: { type: 'string' } } } },
} as const

/** JSON schemas of what the studio asks: models in detail, what plans cost, profiles, recipes, settings of files. */

const number = { type: 'number' } as const
const text = { type: 'string' } as const
const whole = { type: 'integer' } as const
const list = <Items extends object>(items: Items) => ({ type: 'array', items }) as const
const open = { type: 'object', additionalProperties: true } as const

/** An object whose properties are all there. */
function record<Properties extends Record<string, object>>(properties: Properties, optional: readonly string[] = []) {
  return { type: 'object', required: Object.keys(properties).filter(key => !optional.includes(key)), properties }
}

const sized = {
  model: { type: 'string', maxLength: 200, description: 'One of GET /api/models; the first if left out' },
  width: { type: 'integer', minimum: 8, maximum: 8192 }, height: { type: 'integer', minimum: 8, maximum: 8192 },
  count: { type: 'integer', minimum: 1, maximum: 256, description: 'Images at once; 1 if left out' },
} as const

const body = (properties: object, required: readonly string[] = []) => ({ type: 'object', required, additionalProperties: false, properties })

/** Body of `POST /api/models/describe` and `POST /api/profile`. */
export const sizedBody = body(sized)

/** A model in detail. */
export const modelAnswer = record({
  name: text, sizes: record({ default: whole, multiple: whole }), sampler: text,
  defaults: record({ guidanceScale: number, steps: whole, clipSkip: whole }), samplers: list(text), bytes: number,
  guided: { type: 'boolean', description: 'Whether guidance takes an unconditional pass' },
  prefixes: { ...list(text), description: 'What plans may inherit' },
  units: list(record({ name: text, op: text, parameters: number, macs: number })),
  parts: list(record({ name: text, parameters: number, macs: number, arenaBytes: number })),
})

/** Body of `POST /api/plans/cost`. */
export const costBody = body({
  ...sized, steps: { type: 'integer', minimum: 1, maximum: 1000 }, sampler: { type: 'string', maxLength: 100 },
  eta: { type: 'number', minimum: 0, maximum: 1 }, guidanceScale: { type: 'number', minimum: 0, maximum: 1000 },
  plan: { description: 'A plan, or the name of a preset', anyOf: [{ type: 'string', maxLength: 40 }, open] },
})

/** What a plan makes of a run. */
export const costAnswer = record({
  plan: open, passes: { ...whole, description: 'Runs of the UNet: what a plan calls steps' }, order: whole, guided: { type: 'boolean' },
  macs: number, leastMacs: { ...number, description: 'Where adaptive rules inherit whenever they may' }, fullMacs: number, textMacs: number,
  textBytes: number, keptBytes: number, arenaBytes: number,
  units: list(text), programs: { ...list(list(whole)), description: 'Numbers of the units that each kind of step runs' },
  steps: list(record({
    guidance: { type: 'string', enum: ['full', 'conditional', 'inherit'] }, program: whole, macs: number,
    inherit: list(record({ prefix: text, feature: { type: 'string', enum: ['output', 'branch'] } })),
    values: { ...list(record({ name: text, source: whole })), description: 'Units whose value is read from an earlier step' },
    adaptive: record({ program: whole, macs: number }),
  }, ['adaptive'])),
})

const row = record({
  name: text, calls: whole, ms: number, share: number, macs: number, gflops: number, bytes: number, boundMs: number, ofRoofline: number,
})

/** A profile of a guided UNet pass. */
export const profileAnswer = record({
  dtype: text, cpu: text, threads: whole, peakGflops: number, peakGBs: number, passMs: number,
  whole: row, blocks: list(row), units: list(row), kinds: list(row),
})

/** Recipes. */
export const recipesAnswer = record({ recipes: list(open), assemble: { type: 'boolean', description: 'Whether models may be assembled here' } })

/** Body of `POST /api/recipes/assemble`. */
export const assembleBody = body({
  recipe: open, checkpoints: { type: 'object', additionalProperties: { type: 'string', maxLength: 200 } },
  name: { type: 'string', pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$', description: 'What the model is called then' },
}, ['recipe', 'checkpoints', 'name'])

/** A model that was assembled. */
export const assembledAnswer = record({ name: text })

/** Body of `POST /api/settings`. */
export const settingsBody = body({ image: { type: 'string', description: 'A PNG in base64, or a data: URL of it' } }, ['image'])

/** Settings of a PNG. */
export const settingsAnswer = record({ settings: { ...open, nullable: true } }, ['settings'])

/** What can be asked for besides models. */
export const choicesAnswer = record({ loras: list(text), presets: list(text), maxPixels: whole, maxImages: whole })

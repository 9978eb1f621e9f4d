import { AsdmError, shown } from '../base/errors'
import { shownPath } from '../files/files'
import { isJsonObject, type JsonObject } from '../files/json'

/**
 * What requests to a model use where they do not say: what its card recommends, else what its scheduler tells, else what Stable Diffusion's
 * pipelines use.
 */
export interface ModelDefaults {
  /** As `GenerateOptions.guidanceScale`. */
  guidanceScale: number
  /** As `GenerateOptions.steps`. */
  steps: number
  /** As `GenerateOptions.clipSkip`. */
  clipSkip: number
}

/** Of models that recommend nothing: diffusers' guidance, and as many steps as its faster samplers need. */
export const commonDefaults: Readonly<ModelDefaults> = Object.freeze({ guidanceScale: 7.5, steps: 20, clipSkip: 0 })

/** Schedulers that only networks distilled for them are run with. */
const distilledSchedulers: readonly unknown[] = ['LCMScheduler', 'TCDScheduler']
/** Those of SD-Turbo and its like, where their timesteps are trailing; other models use these schedulers, too. */
const turboSchedulers: readonly unknown[] = ['EulerDiscreteScheduler', 'EulerAncestralDiscreteScheduler']

/**
 * What a scheduler config says of the weights that it was published with.
 *
 * - `LCMScheduler`, `TCDScheduler`: 4 steps without guidance; guidance 8.5 where the UNet takes the scale as an input, as diffusers'
 *   `LatentConsistencyModelPipeline`.
 * - Euler with trailing timesteps that predicts epsilon and starts below pure noise, as SD-Turbo: 1 step without guidance. (Fine-tunes
 *   with trailing timesteps have a schedule that ends in pure noise, and mostly predict v.)
 * @param guidanceInput does the UNet take the guidance scale as an input?
 */
export function schedulerDefaults(scheduler: JsonObject, guidanceInput: boolean): ModelDefaults {
  if (distilledSchedulers.includes(scheduler._class_name))
    return { ...commonDefaults, steps: 4, guidanceScale: guidanceInput ? 8.5 : 1 }
  const turbo = turboSchedulers.includes(scheduler._class_name) && scheduler.timestep_spacing === 'trailing'
    && (scheduler.prediction_type ?? 'epsilon') === 'epsilon' && scheduler.rescale_betas_zero_snr !== true
  return turbo ? { ...commonDefaults, steps: 1, guidanceScale: 1 } : { ...commonDefaults }
}

/**
 * What a request by a sampler of its own uses: the model's defaults, unless the sampler is one for distilled networks and the model's is
 * not, as with LCM-LoRA.
 * @param own the model's defaults @param model its scheduler's config @param asked that of the request's sampler
 */
export function requestDefaults(own: ModelDefaults, model: JsonObject, asked: JsonObject, guidanceInput: boolean): ModelDefaults {
  if (!distilledSchedulers.includes(asked._class_name) || distilledSchedulers.includes(model._class_name)) return own
  return { ...schedulerDefaults(asked, guidanceInput), clipSkip: own.clipSkip }
}

const ranges: Readonly<Record<keyof ModelDefaults, { max: number, min: number, whole: boolean }>> = {
  guidanceScale: { min: 0, max: 1000, whole: false }, steps: { min: 1, max: 1000, whole: true }, clipSkip: { min: 0, max: 24, whole: true },
}

/**
 * Reads a model's recommendations from its `model_index.json`: `"_asdm": { "version": 1, "defaults": { "guidanceScale": 3 } }`. diffusers
 * passes over names with an underscore.
 * @throws AsdmError `BAD_CONFIG`, `UNSUPPORTED_CONFIG`
 */
export function parseDefaults(index: JsonObject, file: string): Partial<ModelDefaults> {
  const section = index._asdm ?? undefined
  if (section === undefined) return {}
  const bad = (option: string, expected: string, value: unknown): AsdmError =>
    new AsdmError('BAD_CONFIG', `Expected ${option} in ${shownPath(file)} to be ${expected} but received ${shown(value)}`)
  if (!isJsonObject(section)) throw bad('_asdm', 'an object with version and defaults', section)
  const { version, defaults = {}, ...others } = section
  if (version !== 1 || Object.keys(others).length > 0)
    throw new AsdmError('UNSUPPORTED_CONFIG',
      `Expected _asdm in ${shownPath(file)} to hold version 1 and defaults only but received `
      + (version === 1 ? shown(Object.keys(others)[0]) : `version ${shown(version)}`))
  if (!isJsonObject(defaults)) throw bad('_asdm.defaults', 'an object', defaults)
  const out: Partial<ModelDefaults> = {}
  for (const [key, value] of Object.entries(defaults)) {
    if (!Object.hasOwn(ranges, key))
      throw new AsdmError('UNSUPPORTED_CONFIG',
        `Expected _asdm.defaults in ${shownPath(file)} to hold ${Object.keys(ranges).join(', ')} only but received ${shown(key)}`)
    const { min, max, whole } = ranges[key as keyof ModelDefaults]
    if (typeof value !== 'number' || !(value >= min && value <= max) || whole && !Number.isInteger(value))
      throw bad(`_asdm.defaults.${key}`, `a ${whole ? 'whole ' : ''}number from ${min} to ${max}`, value)
    out[key as keyof ModelDefaults] = value
  }
  return out
}

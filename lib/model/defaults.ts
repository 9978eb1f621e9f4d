import { AsdmError, shown } from '../base/errors'
import { shownPath } from '../files/files'
import { isJsonObject, type JsonObject } from '../files/json'

/** What requests to a model use where they do not say: what its card recommends, else what Stable Diffusion's pipelines use. */
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

const ranges: Readonly<Record<keyof ModelDefaults, { max: number, min: number, whole: boolean }>> = {
  guidanceScale: { min: 0, max: 1000, whole: false }, steps: { min: 1, max: 1000, whole: true }, clipSkip: { min: 0, max: 24, whole: true },
}

/**
 * Reads a model's recommendations from its `model_index.json`: `"_asdm": { "version": 1, "defaults": { "guidanceScale": 3 } }`. diffusers
 * passes over names with an underscore.
 * @throws AsdmError `BAD_CONFIG`, `UNSUPPORTED_CONFIG`
 */
export function parseDefaults(index: JsonObject, file: string): ModelDefaults {
  const section = index._asdm ?? undefined
  if (section === undefined) return { ...commonDefaults }
  const bad = (option: string, expected: string, value: unknown): AsdmError =>
    new AsdmError('BAD_CONFIG', `Expected ${option} in ${shownPath(file)} to be ${expected} but received ${shown(value)}`)
  if (!isJsonObject(section)) throw bad('_asdm', 'an object with version and defaults', section)
  const { version, defaults = {}, ...others } = section
  if (version !== 1 || Object.keys(others).length > 0)
    throw new AsdmError('UNSUPPORTED_CONFIG',
      `Expected _asdm in ${shownPath(file)} to hold version 1 and defaults only but received `
      + (version === 1 ? shown(Object.keys(others)[0]) : `version ${shown(version)}`))
  if (!isJsonObject(defaults)) throw bad('_asdm.defaults', 'an object', defaults)
  const out = { ...commonDefaults }
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

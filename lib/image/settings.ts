import { AsdmError } from '../base/errors'
import { path as checkPath } from '../base/options'
import { reading } from '../base/reading'
import { readWhole, shownPath } from '../files/files'
import type { GenerationSettings, ReadSettings } from './generation-settings'
import { formatParameters, parseParameters } from './parameters'
import { readTexts } from './png/text'

/** The PNG text chunk that holds the settings as JSON, and the one that other programs read. */
const keyword = 'asdm'
const foreignKeyword = 'parameters'

/** Longest PNG file that settings are read from. */
const maxPngBytes = 2 ** 30

/** The texts of a PNG that was made with these settings. */
export function settingsTexts(settings: GenerationSettings): Record<string, string> {
  // ASCII, which is all that a tEXt chunk is sure to carry.
  const json = settingsJson(settings).replace(/[^\x20-\x7e]/g, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
  return { Software: 'asdm', [keyword]: json, [foreignKeyword]: formatParameters(settings) }
}

/**
 * The settings that `image.save` wrote into a PNG, or those that AUTOMATIC1111's web UI or its relatives wrote (chunk `parameters`), from
 * chunks of the types tEXt, zTXt and iTXt; `undefined` where there are none.
 * @param png the file's path or its bytes
 * @throws AsdmError `INVALID_ARGUMENT`, `FILE_NOT_FOUND`, `FILE_READ`, or `BAD_JSON` when asdm's own chunk does not parse
 */
export async function readSettings(png: string | Uint8Array): Promise<ReadSettings | undefined> {
  const bytes = ArrayBuffer.isView(png)
    ? reading('png', () => new Uint8Array(png.buffer, png.byteOffset, png.byteLength))
    : await readWhole(checkPath(png, 'png'), maxPngBytes)
  const texts = await readTexts(bytes, [keyword, foreignKeyword])
  const json = texts.get(keyword)
  if (json === undefined) {
    const foreign = texts.get(foreignKeyword)
    return foreign === undefined ? undefined : parseParameters(foreign)
  }
  const where = typeof png === 'string' ? shownPath(png) : 'the PNG'
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (error) {
    throw new AsdmError('BAD_JSON', `Expected the text chunk ${keyword} of ${where} to hold JSON but it does not parse`, { cause: error })
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw new AsdmError('BAD_JSON', `Expected the text chunk ${keyword} of ${where} to hold a JSON object`)
  return jsonSafe(withSeed(value as GenerationSettings))
}

/**
 * Settings that `JSON.stringify` takes, whatever their seed: one beyond 2^53 becomes a string, which {@link withSeed} reads. The method
 * that does this is not enumerable, so that copies, comparisons and `structuredClone` see the settings alone.
 */
export function jsonSafe<T extends { seed?: number | bigint }>(settings: T): T {
  if (typeof settings.seed !== 'bigint') return settings
  const copy = { ...settings }
  Object.defineProperty(copy, 'toJSON', {
    value(this: T) { return { ...this, seed: jsonSeed(this.seed!) } }, enumerable: false, configurable: true,
  })
  return copy
}

/** Settings as JSON gives them back, with the seed that it stands for. */
export function withSeed<T extends { seed?: unknown }>(settings: T): T {
  return typeof settings.seed === 'string' && /^\d{1,20}$/.test(settings.seed) ? { ...settings, seed: BigInt(settings.seed) } : settings
}

function settingsJson(settings: GenerationSettings): string {
  return JSON.stringify({ ...settings, seed: jsonSeed(settings.seed) })
}

function jsonSeed(seed: number | bigint): number | string {
  return typeof seed === 'number' ? seed : seed <= 2n ** 53n ? Number(seed) : String(seed)
}

import path from 'node:path'
import { AsdmError, shown } from '../base/errors'
import { checkLoaded, integer, path as checkPath } from '../base/options'
import { listOf } from '../base/reading'
import type { VAE } from '../components/vae'
import { isFolder, readAt, shownPath, statIfAny, withFile } from '../files/files'
import { isJsonObject, readJsonObject, type JsonObject } from '../files/json'
import { imageFeatures, type ImageFeatures } from './features'

/** A true drawing: what a model should draw for its caption. */
export interface Drawing {
  /** The set it belongs to; an image is looked for among the drawings of its style. */
  style: string
  /** Unique in its style. */
  name: string
  /** The prompt. */
  caption: string
  /** Was it kept from training? */
  heldOut: boolean
}

const maxSide = 2048
const maxCount = 1_000_000

/**
 * True drawings with captions: a folder with `drawings.json`, which says what they are, and the pixels beside it, as `npm run
 * emoji:data` makes it. Open it once for several evaluations: what the encoder made of the drawings is kept.
 */
export class Drawings {
  /** What its encoder made of each style's drawings, for each VAE. */
  readonly #features = new WeakMap<VAE, Map<string, Promise<ImageFeatures[]>>>()

  private constructor(
    /** The folder. */
    readonly folder: string,
    /** Width of every drawing in pixels. */
    readonly width: number,
    /** Height of every drawing in pixels. */
    readonly height: number,
    /** In the order of the pixels. */
    readonly drawings: readonly Drawing[],
    /** Indices of the drawings that models are evaluated with, best by the first of each list. */
    readonly evaluation: {
      /** Of drawings that models are trained on. */
      readonly seen: readonly number[]
      /** Of drawings that no model is trained on. */
      readonly heldOut: readonly number[]
    },
    /** SHA-256 of the pixels, as the folder's description has it. */
    readonly sha256: string,
    private readonly file: string,
  ) {
    checkLoaded(() => typeof file === 'string' && Array.isArray(drawings), 'Drawings', 'Drawings.open')
  }

  /**
   * Reads the description of a folder of drawings.
   * @throws AsdmError `FILE_NOT_FOUND`, `FILE_READ`, `BAD_JSON`
   */
  static async open(folder: string): Promise<Drawings> {
    const file = path.join(checkPath(folder, 'the path of drawings'), 'drawings.json')
    if (await statIfAny(file) === undefined) {
      const what = await isFolder(folder) ? 'it has no drawings.json' : 'there is no such folder'
      throw new AsdmError('FILE_NOT_FOUND',
        `Expected drawings in ${shownPath(folder)} but ${what}; in a checkout of asdm, npm run emoji:data makes build/emoji-data`)
    }
    const json = await readJsonObject(file, 2 ** 28)
    const fail = (problem: string): AsdmError =>
      new AsdmError('BAD_JSON', `Expected ${shownPath(file)} to describe drawings but ${problem}`)
    if (json.format !== 'asdm-drawings' || json.version !== 1)
      throw fail(`its format is ${shown(json.format)}, version ${shown(json.version)}`)
    const whole = (value: unknown, name: string, max: number): number => {
      if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > max) throw fail(`${name} is ${shown(value)}`)
      return value
    }
    const [width, height] = [whole(json.width, 'width', maxSide), whole(json.height, 'height', maxSide)]
    if (!Array.isArray(json.drawings) || json.drawings.length === 0 || json.drawings.length > maxCount)
      throw fail(`drawings is ${shown(json.drawings)}`)
    const drawings = json.drawings.map((value: unknown, i) => parseDrawing(value, problem => fail(`drawings[${i}] ${problem}`)))
    const names = new Set(drawings.map(({ style, name }) => `${style}\0${name}`))
    if (names.size !== drawings.length) throw fail('a style has two drawings of one name')
    const { seen, heldOut } = isJsonObject(json.evaluation) ? json.evaluation : {} as JsonObject
    const evaluation = { seen: indices(seen, 'seen', drawings, false, fail), heldOut: indices(heldOut, 'heldOut', drawings, true, fail) }
    const pixels = isJsonObject(json.pixels) ? json.pixels : {}
    const bytes = drawings.length * width * height * 3
    if (typeof pixels.file !== 'string' || !/^[\w][\w.-]{0,99}$/.test(pixels.file)) throw fail(`pixels.file is ${shown(pixels.file)}`)
    if (typeof pixels.sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(pixels.sha256)) throw fail(`pixels.sha256 is ${shown(pixels.sha256)}`)
    const binary = path.join(folder, pixels.file)
    const size = (await statIfAny(binary))?.size
    if (size !== bytes)
      throw new AsdmError(
        size === undefined ? 'FILE_NOT_FOUND' : 'FILE_READ',
        `Expected ${shownPath(binary)} to hold ${bytes} bytes, ${drawings.length} drawings, but `
        + (size === undefined ? 'there is no such file' : `it has ${size}`),
      )
    return new Drawings(folder, width, height, drawings, evaluation, pixels.sha256, binary)
  }

  /**
   * The pixels of drawings, 3 bytes each.
   * @throws AsdmError `INVALID_ARGUMENT`, `FILE_NOT_FOUND`, `FILE_READ`
   */
  async pixels(indices: readonly number[]): Promise<Uint8Array[]> {
    const bytes = this.width * this.height * 3
    const wanted = listOf(indices, 'indices', maxCount).map(index => integer(index, 'an index', 0, this.drawings.length - 1))
    return withFile(this.file, async handle => {
      const list: Uint8Array[] = []
      for (const index of wanted) list.push(await readAt(handle, index * bytes, bytes, this.file))
      return list
    })
  }

  /** Indices of a style's drawings. */
  ofStyle(style: string): number[] {
    return this.drawings.flatMap((drawing, i) => (drawing.style === style ? [i] : []))
  }

  /** @internal What the encoder makes of a style's drawings, in the order of {@link ofStyle}; computed once for each VAE. */
  features(
    vae: VAE, style: string, options: { signal?: AbortSignal | undefined, onImage?: ((done: number) => void) | undefined },
  ): Promise<ImageFeatures[]> {
    const known = this.#features.get(vae) ?? new Map<string, Promise<ImageFeatures[]>>()
    this.#features.set(vae, known)
    const features = known.get(style) ?? this.pixels(this.ofStyle(style)).then(pixels => imageFeatures(vae, pixels, this, options))
    known.set(style, features)
    // One that was aborted or failed is computed anew by the next.
    features.catch(() => known.delete(style))
    return features
  }
}

function parseDrawing(value: unknown, fail: (problem: string) => AsdmError): Drawing {
  if (!isJsonObject(value)) throw fail('is no object')
  const { style, name, caption, heldOut } = value
  for (const [key, text] of Object.entries({ style, name, caption }))
    if (typeof text !== 'string' || text === '' || text.length > 1000) throw fail(`has ${shown(text)} as its ${key}`)
  if (typeof heldOut !== 'boolean') throw fail(`has ${shown(heldOut)} as heldOut`)
  return { style: style as string, name: name as string, caption: caption as string, heldOut }
}

function indices(
  value: unknown, name: string, drawings: readonly Drawing[], heldOut: boolean, fail: (problem: string) => AsdmError,
): number[] {
  if (!Array.isArray(value) || value.length > drawings.length) throw fail(`evaluation.${name} is ${shown(value)}`)
  for (const index of value as unknown[])
    if (typeof index !== 'number' || !Number.isInteger(index) || drawings[index]?.heldOut !== heldOut)
      throw fail(`evaluation.${name} holds ${shown(index)}, which is not the number of a ${heldOut ? 'held-out' : 'seen'} drawing`)
  if (new Set(value).size !== value.length) throw fail(`evaluation.${name} holds a number twice`)
  return [...value as number[]]
}

import { types } from 'node:util'
import { AsdmError, shown } from '../base/errors'
import { abortSignal, boolean, checkOptions, integer, optional, path as checkPath, type Unchecked } from '../base/options'
import { writeWhole } from '../files/write'
import { checkFormat, formatOfFile, mediaType, type ImageFormat } from './formats'
import { encodePng } from './png/encode'
import { encodeWithSharp } from './sharp'

/** How an image is encoded. */
export interface EncodeImageOptions {
  /** 1 to 100, for JPEG and WebP (90 if left out) and AVIF (65). PNG is lossless and takes none. */
  quality?: number | undefined
  /** Stops the encoding, which then rejects with an `AbortError`. */
  signal?: AbortSignal | undefined
}

/** How an image is written to a file. */
export interface SaveOptions extends EncodeImageOptions {
  /** The format, where the file's extension does not say it. */
  format?: ImageFormat | undefined
  /** Makes the folders above the file; false if left out. */
  folders?: boolean | undefined
}

const encodeKeys = ['quality', 'signal'] as const satisfies readonly (keyof EncodeImageOptions)[]
const saveKeys = [...encodeKeys, 'format', 'folders'] as const satisfies readonly (keyof SaveOptions)[]

/** An image in memory, 8 bits a channel. */
export class RgbaImage {
  /**
   * @param rgba 4 bytes a pixel, row by row from the top left; alpha is 255
   * @param width in pixels
   * @param height in pixels
   * @throws AsdmError `INVALID_ARGUMENT`
   */
  constructor(
    /** 4 bytes a pixel, row by row from the top left; alpha is 255. */
    readonly rgba: Uint8ClampedArray<ArrayBuffer>,
    /** In pixels. */
    readonly width: number,
    /** In pixels. */
    readonly height: number,
  ) {
    const isSide = (side: unknown): boolean => Number.isInteger(side) && side as number > 0
    if (!types.isUint8ClampedArray(rgba) || !isSide(width) || !isSide(height) || rgba.length !== 4 * width * height)
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected an image of a Uint8ClampedArray with 4 bytes for each pixel but received ${shown(rgba)} for ${shown(width)}x${shown(height)}`)
  }

  /** The image as a PNG file's bytes. Does not block the event loop. */
  async png(): Promise<Buffer<ArrayBuffer>> {
    return this.#encode('png', {})
  }

  /**
   * The image as a file's bytes. Does not block the event loop. JPEG, WebP and AVIF need the package `sharp`.
   * @param format `png` if left out
   * @throws AsdmError `INVALID_ARGUMENT`, `PACKAGE_MISSING`; an `AbortError` when the signal fires
   */
  async toBuffer(format: ImageFormat = 'png', options?: EncodeImageOptions): Promise<Buffer<ArrayBuffer>> {
    return this.#encode(checkFormat(format), checkOptions(options, encodeKeys, 'image.toBuffer'))
  }

  /**
   * The image as a `data:` URL, for an `<img>`.
   * @param format `png` if left out
   * @throws AsdmError as {@link toBuffer}
   */
  async toDataURL(format: ImageFormat = 'png', options?: EncodeImageOptions): Promise<string> {
    const checked = checkFormat(format)
    const bytes = await this.#encode(checked, checkOptions(options, encodeKeys, 'image.toDataURL'))
    return `data:${mediaType(checked)};base64,${bytes.toString('base64')}`
  }

  /**
   * Writes the image to a file, in the format of its extension: `.png`, `.jpg`, `.webp` or `.avif`, PNG without one. The file appears whole
   * or not at all: the bytes go to a temporary file beside it first.
   * @returns the absolute path
   * @throws AsdmError `INVALID_ARGUMENT`, `PACKAGE_MISSING`, `FILE_NOT_FOUND` when the folder is missing, `FILE_WRITE` when the system
   * refuses; an `AbortError` when the signal fires
   */
  async save(path: string, options?: SaveOptions): Promise<string> {
    const checked = checkOptions(options, saveKeys, 'image.save')
    const folders = optional(checked.folders, value => boolean(value, 'folders')) ?? false
    const format = formatOfFile(checkPath(path, 'path'), optional(checked.format, checkFormat))
    return writeWhole(path, await this.#encode(format, checked), { folders })
  }

  /** Texts that a PNG carries beside the pixels. */
  protected texts(): Record<string, string> {
    return { Software: 'asdm' }
  }

  async #encode(format: ImageFormat, options: Unchecked): Promise<Buffer<ArrayBuffer>> {
    const quality = optional(options.quality, value => integer(value, 'quality', 1, 100))
    const signal = optional(options.signal, value => abortSignal(value, 'signal'))
    const { rgba, width, height } = this
    if (format !== 'png') return encodeWithSharp(rgba, width, height, format, quality, signal)
    if (quality !== undefined)
      throw new AsdmError('INVALID_ARGUMENT', `Expected no quality for PNG, which is lossless, but received ${quality}`)
    return encodePng(rgba, width, height, this.texts(), signal)
  }
}

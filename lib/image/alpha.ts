import { abortSignal, checkOptions, integer, optional } from '../base/options'
import { AsdmError, shown } from '../base/errors'
import { decodePng } from './png/decode'

/** Most pixels where no limit is given. */
const mostPixels = 2 ** 26

/** How {@link readAlpha} reads. */
export interface ReadAlphaOptions {
  /** Most pixels that the image may have (67,108,864). */
  maxPixels?: number | undefined
  /** Aborts the reading. */
  signal?: AbortSignal | undefined
}

/** How opaque each pixel of an image is. */
export interface AlphaImage {
  /** One byte a pixel, row by row: 0 is transparent, 255 opaque. */
  data: Uint8Array<ArrayBuffer>
  /** In pixels. */
  width: number
  /** In pixels. */
  height: number
}

/**
 * Reads the alpha of a PNG, of its own channel or by tRNS: for masks of programs that mark what is to be repainted as transparent, which
 * become asdm's as `data.map(alpha => 255 - alpha)`. Safe with files of strangers.
 * @throws AsdmError `INVALID_ARGUMENT` for anything but bytes, or more pixels than allowed; `UNSUPPORTED_FORMAT` when it is no PNG,
 * `FILE_READ` when it is damaged; an `AbortError` when the signal fires
 */
export async function readAlpha(png: Uint8Array, options?: ReadAlphaOptions): Promise<AlphaImage> {
  if (!ArrayBuffer.isView(png) || Object.prototype.toString.call(png) !== '[object Uint8Array]')
    throw new AsdmError('INVALID_ARGUMENT', `Expected png to be a Uint8Array of a PNG but received ${shown(png)}`)
  const given = checkOptions(options, ['maxPixels', 'signal'], 'readAlpha')
  const most = optional(given.maxPixels, value => integer(value, 'maxPixels', 1, mostPixels)) ?? mostPixels
  const signal = optional(given.signal, value => abortSignal(value, 'signal'))
  const check = (width: number, height: number): void => {
    if (width * height > most)
      throw new AsdmError('INVALID_ARGUMENT', `Expected png to have at most ${most} pixels but received ${width}x${height}`)
  }
  const { alpha, width, height } = await decodePng(png, 'png', check, signal, { alpha: true })
  return { data: alpha!, width, height }
}

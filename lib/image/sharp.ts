import { untilAborted } from '../base/abort'
import { AsdmError, isAbortError } from '../base/errors'
import type { ImageFormat } from './formats'
import type { DecodedImage } from './png/decode'

/** The formats that need sharp. */
type SharpFormat = Exclude<ImageFormat, 'png'>

/** What is used of the package sharp. */
interface Sharp {
  metadata(): Promise<{ width?: number, height?: number, orientation?: number }>
  rotate(): Sharp
  toColourspace(space: 'srgb'): Sharp
  removeAlpha(): Sharp
  raw(options: { depth: 'uchar' }): Sharp
  jpeg(options: object): Sharp
  webp(options: object): Sharp
  avif(options: object): Sharp
  toBuffer(options: { resolveWithObject: true }): Promise<{ data: Buffer, info: { width: number, height: number, channels: number } }>
}
type SharpModule = (input: Uint8Array, options?: object) => Sharp

/** Where nothing else is asked for; at these, losses are hard to see. */
const defaultQuality: Readonly<Record<SharpFormat, number>> = { jpeg: 90, webp: 90, avif: 65 }

/**
 * The package sharp, an optional peer dependency.
 * @param purpose what it is needed for: `write JPEG`
 * @throws AsdmError `PACKAGE_MISSING`
 */
export function loadSharp(purpose: string): SharpModule {
  try {
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- optional, and found when it is first needed
    return require('sharp') as SharpModule
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND' && (error as Error).message.includes('\'sharp\'')
    throw new AsdmError('PACKAGE_MISSING', missing
      ? `Expected the package sharp in order to ${purpose} but it is not installed; run: npm install sharp`
      : `Expected the package sharp in order to ${purpose} but it does not load: ${(error as Error).message.split('\n', 1)[0]}; run: npm `
        + 'install sharp', {
      cause: error,
    })
  }
}

/**
 * Encodes RGBA (alpha is left out) as JPEG, WebP or AVIF.
 * @param quality 1 to 100
 * @throws AsdmError `PACKAGE_MISSING`; an `AbortError` when the signal fires
 */
export async function encodeWithSharp(
  rgba: Uint8ClampedArray, width: number, height: number, format: SharpFormat, quality: number | undefined, signal: AbortSignal | undefined,
): Promise<Buffer<ArrayBuffer>> {
  const sharp = loadSharp(`write ${format.toUpperCase()}`)
  const pixels = new Uint8Array(rgba.buffer, rgba.byteOffset, rgba.byteLength)
  const image = sharp(pixels, { raw: { width, height, channels: 4 }, limitInputPixels: false }).removeAlpha()
  const options = { quality: quality ?? defaultQuality[format], ...(format === 'jpeg' && { chromaSubsampling: '4:4:4' }) }
  const { data } = await untilAborted(image[format](options).toBuffer({ resolveWithObject: true }), signal)
  return Buffer.from(data)
}

/**
 * Decodes JPEG, WebP or AVIF to RGB, turned as its EXIF orientation says, in sRGB; alpha is left out. Of an animation the first frame
 * counts.
 * @param check is handed width and height before anything is unpacked; it may throw
 * @throws AsdmError `PACKAGE_MISSING`, `FILE_READ`; an `AbortError` when the signal fires
 */
export async function decodeWithSharp(
  bytes: Uint8Array, format: SharpFormat, where: string, check: (width: number, height: number) => void, signal: AbortSignal | undefined,
): Promise<DecodedImage> {
  const sharp = loadSharp(`read ${format.toUpperCase()}`)
  try {
    // The size is checked by whoever calls, so sharp's own limit is off.
    const image = sharp(bytes, { failOn: 'error', limitInputPixels: false })
    const { width = 0, height = 0, orientation = 1 } = await untilAborted(image.metadata(), signal)
    if (orientation >= 5) check(height, width)
    else check(width, height)
    const { data, info } = await untilAborted(
      image.rotate().toColourspace('srgb').removeAlpha().raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true }), signal)
    if (info.channels !== 3) throw new Error(`it decodes to ${info.channels} channels`)
    return { data: new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength), width: info.width, height: info.height }
  } catch (error) {
    if (error instanceof AsdmError || isAbortError(error)) throw error
    throw new AsdmError(
      'FILE_READ', `Expected ${where} to be a whole ${format.toUpperCase()} but it does not decode: ${(error as Error).message.trim()}`,
      { cause: error },
    )
  }
}

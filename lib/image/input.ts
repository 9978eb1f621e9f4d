import { AsdmError, shown } from '../base/errors'
import { checkTensor, type Tensor } from '../base/tensor'
import { readWhole, shownPath } from '../files/files'
import { fromPixels, maskFromPixels } from './pixels'
import { decodePng, pngSize } from './png'

/** 8-bit pixels, row by row: RGB or RGBA (alpha is ignored), for masks also one grey byte a pixel. A generated image is one, too. */
export type Pixels = {
  width: number
  height: number
} & ({ data: Uint8Array | Uint8ClampedArray } | { rgba: Uint8Array | Uint8ClampedArray })

/** A picture handed in: the path of a PNG file, the bytes of one, or pixels. */
export type ImageInput = string | Uint8Array | Pixels

/** A picture that was handed in, once it is read. */
export type ReadImage = { width: number, height: number } & ({ data: Uint8Array | Uint8ClampedArray } | { tensor: Tensor })

/** The size that a picture must have, where it is known already, and a check of any size; it throws. */
export interface WantedSize {
  width: number | undefined
  height: number | undefined
  check(size: { width: number, height: number }): void
}

/** Longest PNG file that is read. */
const maxPngBytes = 2 ** 30

/**
 * Checks all that can be told before a file is read, and copies bytes, so that the caller may go on writing to them.
 * @returns a function that reads the picture; it throws AsdmError `FILE_NOT_FOUND`, `FILE_READ`, `UNSUPPORTED_FORMAT`
 * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`
 */
export function checkImage(value: unknown, name: 'image' | 'mask', wanted: WantedSize): (signal: AbortSignal) => Promise<ReadImage> {
  const checkSize = (width: number, height: number): void => {
    if ((wanted.width ?? width) !== width || (wanted.height ?? height) !== height)
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected ${name} to be ${wanted.width ?? width}x${wanted.height ?? height} pixels like the picture to make but received `
        + `${shown(width)}x${shown(height)}; resize it, or set width and height`)
    wanted.check({ width, height })
  }
  if (typeof value === 'string' && value !== '' && !value.includes('\0')) {
    return async signal => decodePng(await readWhole(value, maxPngBytes, signal), `${name} ${shownPath(value)}`, checkSize, signal)
  }
  if (value instanceof Uint8Array) {
    const bytes = value.slice()
    const size = pngSize(bytes)
    if (size !== undefined) checkSize(size.width, size.height)
    return signal => decodePng(bytes, name, checkSize, signal)
  }
  const picture = name === 'image' && isTensorLike(value) ? checkPictureTensor(value) : checkPixels(value, name)
  checkSize(picture.width, picture.height)
  return async () => picture
}

/** Width and height of a picture handed in; `undefined` for what must be read first, or is no picture. */
export function imageSize(value: unknown): { width: number, height: number } | undefined {
  if (value instanceof Uint8Array) return pngSize(value)
  if (value === null || typeof value !== 'object') return undefined
  if (isTensorLike(value))
    return Array.isArray(value.shape) && value.shape.length === 4 ? { width: value.shape[3], height: value.shape[2] } : undefined
  const { width, height } = value as Partial<Pixels>
  return typeof width === 'number' && typeof height === 'number' ? { width, height } : undefined
}

/** The picture as a tensor [1,3,H,W] in [-1, 1]. */
export function imageTensor(image: ReadImage): Tensor {
  return 'tensor' in image ? image.tensor : fromPixels(image.data, image.width, image.height)
}

/** The mask as ones (repaint) and zeros (keep), one a pixel. */
export function maskValues(mask: ReadImage): Float32Array {
  if ('tensor' in mask) throw new AsdmError('INTERNAL', 'Expected a mask of pixels but received a tensor')
  return maskFromPixels(mask.data, mask.width, mask.height)
}

function isTensorLike(value: unknown): value is Tensor {
  return value !== null && typeof value === 'object' && 'shape' in value
}

function checkPictureTensor(value: unknown): ReadImage {
  checkTensor(value, 'image', 4)
  const [batch, channels, height, width] = value.shape
  if (batch !== 1 || channels !== 3)
    throw new AsdmError('SHAPE_MISMATCH', `Expected image to be a tensor [1,3,H,W] but received [${value.shape}]`)
  if (!value.data.every(Number.isFinite))
    throw new AsdmError('INVALID_ARGUMENT', 'Expected image to hold finite values but received NaN or infinity')
  return { width, height, tensor: { data: value.data.slice(), shape: [...value.shape] } }
}

function checkPixels(value: unknown, name: string): ReadImage {
  const { width, height, data, rgba } = (value ?? {}) as { width?: unknown, height?: unknown, data?: unknown, rgba?: unknown }
  const bytes = data ?? rgba
  if (typeof width !== 'number' || typeof height !== 'number' || !(bytes instanceof Uint8Array || bytes instanceof Uint8ClampedArray))
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected ${name} to be a PNG's path or bytes, or { data, width, height } with 8-bit pixels, but received ${shown(value)}`)
  const channels = bytes.length / (width * height)
  if (channels !== 3 && channels !== 4 && !(channels === 1 && name === 'mask'))
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected ${name} to hold ${name === 'mask' ? '1, 3 or 4' : '3 or 4'} bytes for each of ${shown(width)}x${shown(height)} pixels but `
      + `received ${bytes.length} bytes`)
  return { data: bytes.slice(), width, height }
}

import { fileURLToPath } from 'node:url'
import { types } from 'node:util'
import { untilAborted } from '../base/abort'
import { AsdmError, shown } from '../base/errors'
import { fieldsOf, reading } from '../base/reading'
import { Slices } from '../base/slices'
import { checkTensor, sizes, type Tensor } from '../base/tensor'
import { readWhole, shownPath } from '../files/files'
import { formatOfBytes } from './formats'
import { pngOrientation, upright } from './orientation'
import { decodePng, pngSize } from './png/decode'
import { decodeWithSharp } from './sharp'

/**
 * 8-bit pixels, row by row: RGB or RGBA (alpha is ignored), for masks also one grey byte a pixel. A generated image is one, and the DOM's
 * `ImageData`.
 */
export type Pixels = { width: number, height: number }
  & ({ data: Uint8Array | Uint8ClampedArray | ArrayBufferLike } | { rgba: Uint8Array | Uint8ClampedArray })

/** A `Blob` or `File`, the DOM's or Node's. */
export interface BlobLike {
  /** In bytes. */
  readonly size: number
  /** Its media type, as `image/png`; empty if unknown. */
  readonly type: string
  /** Its bytes. */
  arrayBuffer(): Promise<ArrayBuffer>
}

/**
 * An image handed in: a file's path, a `file:` or `data:` URL, a file's bytes (a `Buffer`, typed array, `ArrayBuffer` or `Blob`), or
 * pixels. Files are PNGs, or where the package `sharp` is installed also JPEG, WebP and AVIF.
 */
export type ImageInput = string | URL | ArrayBufferView | ArrayBufferLike | BlobLike | Pixels

/** In pixels. */
export interface Size {
  width: number
  height: number
}

/** Interleaved 8-bit pixels with 1 (grey), 3 (RGB) or 4 channels, of which the fourth is ignored. */
export interface PixelImage extends Size {
  data: Uint8Array
  channels: number
}

/** An image that was handed in, once it is read. */
type ReadImage = PixelImage | (Size & { tensor: Tensor })

/** An image that was handed in and checked as far as can be told before it is read. */
export interface ImageSource {
  /** Where it is known already. */
  size: Size | undefined
  /** It is a tensor, which is taken as it is. */
  isTensor: boolean
  /** @throws AsdmError `FILE_NOT_FOUND`, `FILE_READ`, `UNSUPPORTED_FORMAT`, `PACKAGE_MISSING`, `INVALID_ARGUMENT`; an `AbortError` */
  read(signal: AbortSignal): Promise<ReadImage>
}

/** Most pixels of an image handed in: 8192x8192, or as many of another shape. */
const maxPixels = 2 ** 26
const maxSide = 2 ** 16

/** Longest file that is read. */
const maxFileBytes = 2 ** 30

/** What is copied before `generate` returns; copying more would hold the event loop for long. */
const copiedAtOnce = 2 ** 23

const kinds = 'a path, a file: or data: URL, a file\'s bytes (Buffer, typed array, ArrayBuffer or Blob), or { data, width, height } with '
  + '8-bit pixels'

/**
 * Checks an image or mask handed in. Up to 8 MiB are copied at once, so that the caller may go on writing to them; more are copied
 * when the request begins.
 * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`
 */
export function imageSource(value: unknown, name: 'image' | 'mask'): ImageSource {
  return reading(name, () => sourceOf(value, name))
}

function sourceOf(value: unknown, name: 'image' | 'mask'): ImageSource {
  if (typeof value === 'string') return fromText(value, name)
  if (isUrl(value)) return fromUrl(value, name)
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) {
    const copy = copied(bytesOf(value))
    const size = sizeOfPng(bytesOf(value))
    if (size !== undefined) checkSize(size, name)
    return { size, isTensor: false, read: async signal => decode(await copy(signal), name, name, signal) }
  }
  if (isBlob(value)) {
    if (value.size > maxFileBytes)
      throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to have at most ${maxFileBytes} bytes but received a Blob of ${value.size}`)
    return { size: undefined, isTensor: false, read: async signal => decode(await bytesOfBlob(value, name, signal), name, name, signal) }
  }
  return name === 'image' && isTensorLike(value) ? fromTensor(value) : fromPixelObject(value, name)
}

function fromText(text: string, name: string): ImageSource {
  const scheme = /^[a-z][a-z\d+.-]+(?=:)/i.exec(text.slice(0, 40))?.[0].toLowerCase()
  if (scheme === 'data') return fromDataUrl(text, name)
  if (scheme === 'file' && URL.canParse(text)) return fromUrl(new URL(text), name)
  if (scheme !== undefined && /^[a-z\d+.-]+:\/\//i.test(text)) throw foreignUrl(scheme, name)
  if (text === '' || text.includes('\0')) throw wrongKind(text, name)
  return fromFile(text, name)
}

function fromUrl(url: URL, name: string): ImageSource {
  if (url.protocol === 'data:') return fromDataUrl(url.href, name)
  if (url.protocol !== 'file:') throw foreignUrl(url.protocol.slice(0, -1), name)
  try {
    return fromFile(fileURLToPath(url.href), name)
  } catch (error) {
    throw bad(`the file: URL of ${name} to name a file of this machine`, shown(url.href), error)
  }
}

function foreignUrl(scheme: string, name: string): AsdmError {
  return bad(`${name} to be ${kinds}`, `a URL of the scheme ${scheme}; fetch it, and hand in the bytes`)
}

function fromFile(file: string, name: string): ImageSource {
  return {
    size: undefined, isTensor: false,
    read: async signal => decode(await readWhole(file, maxFileBytes, signal), `${name} ${shownPath(file)}`, name, signal),
  }
}

/** `data:image/png;base64,...`; what its media type says does not matter. */
function fromDataUrl(url: string, name: string): ImageSource {
  const comma = url.indexOf(',')
  if (comma < 0 || comma > 1000) throw bad(`${name} to be a data: URL with a comma before its data`, shown(url))
  const body = url.slice(comma + 1).replaceAll(/%([\da-f]{2})/gi, (_match, hex: string) => String.fromCharCode(parseInt(hex, 16)))
  const bytes = Buffer.from(body, /;\s*base64\s*$/i.test(url.slice(0, comma)) ? 'base64' : 'latin1')
  return { size: sizeOfPng(bytes), isTensor: false, read: signal => decode(bytes, `${name}, a data: URL,`, name, signal) }
}

async function bytesOfBlob(blob: BlobLike, name: string, signal: AbortSignal): Promise<Uint8Array> {
  try {
    return new Uint8Array(await untilAborted(blob.arrayBuffer(), signal))
  } catch (error) {
    if (signal.aborted) throw error
    const message = shown((error as Error | undefined)?.message)
    throw new AsdmError('FILE_READ', `Expected ${name} to be a readable Blob but reading it fails: ${message}`, { cause: error })
  }
}

/** A file's bytes as pixels. */
async function decode(bytes: Uint8Array, where: string, name: string, signal: AbortSignal): Promise<PixelImage> {
  const format = formatOfBytes(bytes)
  const check = (width: number, height: number): void => checkSize({ width, height }, name)
  if (format === undefined)
    throw new AsdmError('UNSUPPORTED_FORMAT', `Expected ${where} to be a PNG, JPEG, WebP or AVIF but it begins as none of them`)
  const image = format === 'png'
    ? await upright(await decodePng(bytes, where, check, signal), pngOrientation(bytes), new Slices(signal))
    : await decodeWithSharp(bytes, format, where, check, signal)
  return { ...image, channels: 3 }
}

/** Width and height of a PNG as it is to be seen, or `undefined` for anything else. */
function sizeOfPng(bytes: Uint8Array): Size | undefined {
  const size = pngSize(bytes)
  return size !== undefined && pngOrientation(bytes) >= 5 ? { width: size.height, height: size.width } : size
}

function checkSize({ width, height }: Size, name: string): void {
  if (width > maxSide || height > maxSide || width * height > maxPixels)
    throw bad(`${name} to have at most ${maxPixels} pixels`, `${width}x${height}`)
}

function fromTensor(value: unknown): ImageSource {
  const { data: values, shape } = checkTensor(value, 'image', 4)
  const [batch, channels, height, width] = sizes(shape, 4)
  if (batch !== 1 || channels !== 3)
    throw new AsdmError('SHAPE_MISMATCH', `Expected image to be a tensor [1,3,H,W] but received [${shape}]`)
  checkSize({ width, height }, 'image')
  const copy = copied(values)
  return {
    size: { width, height }, isTensor: true,
    async read(signal) {
      const data = await copy(signal)
      const slices = new Slices(signal)
      for (let at = 0; at < data.length; at += piece) {
        if (!data.subarray(at, at + piece).every(Number.isFinite)) throw bad('image to hold finite values', 'NaN or infinity')
        if (slices.over) await slices.next()
      }
      return { width, height, tensor: { data, shape: [1, 3, height, width] } }
    },
  }
}

function fromPixelObject(value: unknown, name: string): ImageSource {
  const { width, height, data, rgba } = fieldsOf(value, name, ['width', 'height', 'data', 'rgba'])
  const given = data ?? rgba
  const isBytes = types.isAnyArrayBuffer(given) || (ArrayBuffer.isView(given) && (given as Uint8Array).BYTES_PER_ELEMENT === 1)
  if (typeof width !== 'number' || typeof height !== 'number' || !isBytes) throw wrongKind(value, name)
  const bytes = bytesOf(given)
  const channels = bytes.length / (width * height)
  if (channels !== 3 && channels !== 4 && !(channels === 1 && name === 'mask'))
    throw bad(`${name} to hold ${name === 'mask' ? '1, 3 or 4' : '3 or 4'} bytes for each of ${shown(width)}x${shown(height)} pixels`,
      `${bytes.length} bytes`)
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1)
    throw bad(`width and height of ${name} to be whole numbers above 0`, `${shown(width)}x${shown(height)}`)
  checkSize({ width, height }, name)
  const copy = copied(bytes)
  return { size: { width, height }, isTensor: false, read: async signal => ({ width, height, channels, data: await copy(signal) }) }
}

function wrongKind(value: unknown, name: string): AsdmError {
  return bad(`${name} to be ${kinds}`, shown(value))
}

function bad(expected: string, received: string, cause?: unknown): AsdmError {
  return new AsdmError('INVALID_ARGUMENT', `Expected ${expected} but received ${received}`, { cause })
}

/** Elements copied or checked before the clock is looked at. */
const piece = 1 << 16

/** Copies what a caller may go on writing to: at once, or where that is much in slices, when it is asked for. */
function copied<T extends Uint8Array | Float32Array>(data: T): (signal: AbortSignal) => Promise<T> {
  if (data.byteLength <= copiedAtOnce) {
    const copy = data.slice() as T
    return () => Promise.resolve(copy)
  }
  return async signal => {
    const slices = new Slices(signal)
    const copy = new (data.constructor as new (length: number) => T)(data.length)
    for (let at = 0; at < data.length; at += piece) {
      copy.set(data.subarray(at, at + piece), at)
      if (slices.over) await slices.next()
    }
    return copy
  }
}

/** The bytes of a view or buffer of any kind and realm, not copied. */
function bytesOf(value: ArrayBufferView | ArrayBufferLike): Uint8Array {
  return ArrayBuffer.isView(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : new Uint8Array(value)
}

function isUrl(value: unknown): value is URL {
  const url = value as Partial<URL> | null
  return url !== null && typeof url === 'object' && typeof url.href === 'string' && typeof url.protocol === 'string'
}

function isBlob(value: unknown): value is BlobLike {
  const blob = value as Partial<BlobLike> | null
  return blob !== null && typeof blob === 'object' && typeof blob.size === 'number' && typeof blob.arrayBuffer === 'function'
}

function isTensorLike(value: unknown): value is Tensor {
  return value !== null && typeof value === 'object' && 'shape' in value
}

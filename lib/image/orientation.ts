import type { Slices } from '../base/slices'
import { readChunks } from './png/chunks'
import type { DecodedImage } from './png/decode'

/** EXIF's eight ways in which an image may lie: 1 is upright, from 5 on width and height change places. Exported for tests and scripts. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8

/** TIFF tag of the orientation, and its type, a 16-bit number. */
const orientationTag = 0x0112
const shortType = 3
/** Entries of a directory that are looked at. */
const mostEntries = 1000

/** Chunks that are looked at, a few milliseconds' work; a PNG of 8 KiB a chunk has 65,536 in 512 MB. */
const mostChunks = 65_536

/** The orientation that a PNG's eXIf chunk gives, 1 where there is none among its chunks or it makes no sense. */
export function pngOrientation(png: Uint8Array): Orientation {
  let seen = 0
  for (const chunk of readChunks(png)) {
    if (chunk === undefined || chunk.type === 'IEND' || ++seen > mostChunks) break
    if (chunk.type === 'eXIf') return exifOrientation(chunk.data)
  }
  return 1
}

/** The orientation of EXIF data, which is a TIFF's first directory (Exif 2.32, 4.6); 1 where it is none. Exported for tests and scripts. */
export function exifOrientation(exif: Uint8Array): Orientation {
  const prefixed = exif.length >= 6 && Buffer.from(exif.subarray(0, 6)).equals(Buffer.from('Exif\0\0'))
  const tiff = prefixed ? exif.subarray(6) : exif
  const view = new DataView(tiff.buffer, tiff.byteOffset, tiff.byteLength)
  const order = tiff.length >= 8 ? view.getUint16(0) : 0
  const little = order === 0x4949
  if (!little && order !== 0x4d4d || view.getUint16(2, little) !== 42) return 1
  const at = view.getUint32(4, little)
  if (at + 2 > tiff.length) return 1
  const entries = Math.min(view.getUint16(at, little), mostEntries)
  for (let i = 0; i < entries && at + 14 + 12 * i <= tiff.length; i++) {
    const entry = at + 2 + 12 * i
    if (view.getUint16(entry, little) !== orientationTag || view.getUint16(entry + 2, little) !== shortType) continue
    const value = view.getUint16(entry + 8, little)
    return value >= 1 && value <= 8 ? value as Orientation : 1
  }
  return 1
}

/** The image as it is to be seen. */
export async function upright(image: DecodedImage, orientation: Orientation, slices: Slices): Promise<DecodedImage> {
  if (orientation === 1) return image
  const { data, width: w, height: h } = image
  const [width, height] = orientation >= 5 ? [h, w] : [w, h]
  const out = new Uint8Array(data.length)
  // Where the first pixel of the output comes from, and how many pixels further that of its right and its lower neighbour lie.
  const mirroredX = [2, 3, 7, 8].includes(orientation)
  const mirroredY = [3, 4, 6, 7].includes(orientation)
  const stepX = mirroredX ? -1 : 1
  const stepY = mirroredY ? -w : w
  const start = (mirroredX ? w - 1 : 0) + (mirroredY ? (h - 1) * w : 0)
  const [right, down] = orientation >= 5 ? [stepY, stepX] : [stepX, stepY]
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0, from = 3 * (start + y * down); x < width; x++, from += 3 * right) {
      out[to++] = data[from]!
      out[to++] = data[from + 1]!
      out[to++] = data[from + 2]!
    }
    if (slices.over) await slices.next()
  }
  return { data: out, width, height }
}

import pathModule from 'node:path'
import { AsdmError, shown } from '../base/errors'
import { oneOf } from '../base/options'
import { shownPath } from '../files/files'
import { hasPngSignature } from './png/chunks'

/** File formats of images. PNG is built in; the others need the package `sharp`. */
export type ImageFormat = 'png' | 'jpeg' | 'webp' | 'avif'

/** All of them. */
export const imageFormats: readonly ImageFormat[] = Object.freeze(['png', 'jpeg', 'webp', 'avif'] as const)

const byExtension: Readonly<Record<string, ImageFormat>> = {
  '.png': 'png', '.jpg': 'jpeg', '.jpeg': 'jpeg', '.jfif': 'jpeg', '.webp': 'webp', '.avif': 'avif',
}

/** An image format named by a caller; `jpg` is `jpeg`. */
export function checkFormat(value: unknown): ImageFormat {
  return value === 'jpg' ? 'jpeg' : oneOf(value, 'format', imageFormats)
}

/**
 * The format of a file to write: that of its extension, PNG without one.
 * @param asked the format that the caller names; it may stand in for an extension that says nothing, but not contradict one
 * @throws AsdmError `INVALID_ARGUMENT`
 */
export function formatOfFile(file: string, asked?: ImageFormat): ImageFormat {
  const extension = pathModule.extname(file).toLowerCase()
  const own = byExtension[extension]
  if (own !== undefined && asked !== undefined && own !== asked)
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${shownPath(file)} to have an extension of ${asked}, or no format beside it`)
  if (own === undefined && asked === undefined && extension !== '')
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected an image file to end in ${Object.keys(byExtension).join(', ')} but received ${shown(pathModule.basename(file))}; name a `
      + 'format to write it all the same')
  return own ?? asked ?? 'png'
}

/** The format that a file's first bytes (16 are enough) show, `undefined` for others than these. */
export function formatOfBytes(bytes: Uint8Array): ImageFormat | undefined {
  const text = (from: number, to: number): string => Buffer.from(bytes.subarray(from, to)).toString('latin1')
  if (hasPngSignature(bytes)) return 'png'
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return 'jpeg'
  if (text(0, 4) === 'RIFF' && text(8, 12) === 'WEBP') return 'webp'
  if (text(4, 8) === 'ftyp' && /^avi[fs]$/.test(text(8, 12))) return 'avif'
  return undefined
}

/** The media type of a format, for data: URLs and HTTP. */
export function mediaType(format: ImageFormat): string {
  return `image/${format}`
}

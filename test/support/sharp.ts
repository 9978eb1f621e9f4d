import { createRequire } from 'node:module'

/** What the tests use of the package sharp, whose own types need not be there. */
interface Sharp {
  metadata(): Promise<{ format: string, width: number, height: number, space: string, exif?: Buffer }>
  ensureAlpha(): Sharp
  removeAlpha(): Sharp
  raw(): Sharp
  png(options?: object): Sharp
  jpeg(options?: object): Sharp
  webp(options?: object): Sharp
  avif(options?: object): Sharp
  gif(options?: object): Sharp
  withMetadata(options?: object): Sharp
  toBuffer(): Promise<Buffer>
}

/** A second reader and writer of images, over libvips. Refuses whatever is damaged. */
export const sharp = createRequire(__filename)('sharp') as (input: Uint8Array | object, options?: object) => Sharp

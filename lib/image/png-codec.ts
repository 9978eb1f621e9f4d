import { PNG } from 'pngjs'

/** Work for the PNG worker. */
export type PngJob =
  | { kind: 'encode', rgba: Uint8ClampedArray, width: number, height: number }
  | { kind: 'decode', png: Uint8Array }

/** RGBA to an RGB PNG (alpha is left out: pictures of the model have none), on the calling thread. */
export function encodeHere(rgba: Uint8ClampedArray, width: number, height: number): Uint8Array {
  const png = new PNG({ width, height })
  png.data = Buffer.from(rgba.buffer, rgba.byteOffset, rgba.byteLength)
  return PNG.sync.write(png, { colorType: 2, deflateLevel: 6, deflateStrategy: 0 })
}

/** Any PNG to 8-bit RGBA, on the calling thread. Throws whatever pngjs throws. */
export function decodeHere(png: Uint8Array): Uint8Array {
  return PNG.sync.read(Buffer.from(png.buffer, png.byteOffset, png.byteLength)).data
}

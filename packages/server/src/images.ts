import { AsdmError, readAlpha, type ImageFormat } from 'asdm'
import type { Settings } from './options'
import type { Round } from './jobs/job'

/** Longest side of a PNG whose alpha is read. */
const maxSide = 2 ** 16

/**
 * The bytes of an image in a request: base64, bare or in a `data:` URL. asdm takes a text for a path, so none is handed on as it is.
 * @throws AsdmError `INVALID_ARGUMENT`
 */
export function bytesOfText(text: string, name: string): Buffer {
  const [, base64] = /^data:[\w.+-]+\/[\w.+-]+;base64,(.*)$/s.exec(text) ?? [undefined, text]
  if (base64 === undefined || base64 === '' || !/^[A-Za-z\d+/_\s-]*={0,2}\s*$/.test(base64))
    throw bad(`${name} to be an image in base64 or a data: URL of one`, JSON.stringify(text.slice(0, 40)))
  return Buffer.from(base64, 'base64')
}

/** Width and height of a PNG, from its header. */
export function sizeOfPng(bytes: Buffer): { width: number, height: number } | undefined {
  if (bytes.length < 24 || bytes.readUInt32BE(0) !== 0x8950_4e47 || bytes.toString('latin1', 12, 16) !== 'IHDR') return undefined
  return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) }
}

/**
 * OpenAI's kind of mask, whose transparent parts are repainted, as asdm's, whose white parts are.
 * @returns `undefined` where nothing is transparent
 * @throws AsdmError `INVALID_ARGUMENT`
 */
export async function maskOfAlpha(
  png: Buffer, maxPixels: number,
): Promise<{ data: Uint8Array, width: number, height: number } | undefined> {
  const size = sizeOfPng(png)
  if (size === undefined) throw bad('a PNG with transparency as the mask', 'another file')
  checkPixels(size.width, size.height, maxPixels)
  const { data, width, height } = await readAlpha(png).catch((error: unknown) => {
    throw bad('the mask to be a whole PNG', (error as Error).message)
  })
  return data.some(alpha => alpha !== 255) ? { data: data.map(alpha => 255 - alpha), width, height } : undefined
}

/** @throws AsdmError `INVALID_ARGUMENT` */
export function checkPixels(width: number | undefined, height: number | undefined, maxPixels: number): void {
  for (const [name, side] of [['width', width], ['height', height]] as const)
    if (side !== undefined && (side < 1 || side > Math.min(maxSide, maxPixels))) throw bad(`${name} to be 1 to ${Math.min(maxSide, maxPixels)}`, String(side))
  if (width !== undefined && height !== undefined && width * height > maxPixels)
    throw bad(`an image of at most ${maxPixels} pixels`, `${width}x${height}`)
}

/** Checks what asdm itself would allow more of. @throws AsdmError `INVALID_ARGUMENT` */
export function checkRounds(rounds: readonly Round[], { maxPixels, maxImages }: Settings): void {
  let images = 0
  for (const { width, height, prompt, count = 1 } of rounds) {
    checkPixels(width ?? undefined, height ?? undefined, maxPixels)
    images += count * (typeof prompt === 'string' ? 1 : prompt.length)
  }
  if (images > maxImages) throw bad(`at most ${maxImages} images in one request`, String(images))
}

/** A format's media type. */
export function mediaType(format: ImageFormat): string {
  return `image/${format}`
}

/** An error that says what was expected and what was received. */
export function bad(expected: string, received: string): AsdmError {
  return new AsdmError('INVALID_ARGUMENT', `Expected ${expected} but received ${received}`)
}

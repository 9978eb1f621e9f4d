import { inflate } from 'node:zlib'
import { promisify } from 'node:util'
import { GeneratedImage, readSettings, type GenerationSettings } from 'asdm'
import { ServerError } from '../errors'

const inflateAsync = promisify(inflate)
const damaged = (): ServerError => new ServerError('RESULT_DAMAGED', 'Expected a PNG that asdm wrote among the results but received another file')

/**
 * An image as `image.png()` wrote it, with its settings: encoded again it gives the same bytes.
 * @throws ServerError `RESULT_DAMAGED`
 */
export async function imageOfPng(png: Buffer): Promise<GeneratedImage> {
  const parts: Buffer[] = []
  let [width, height, channels] = [0, 0, 0]
  for (let at = 8; at + 12 <= png.length;) {
    const length = png.readUInt32BE(at)
    const data = png.subarray(at + 8, at + 8 + length)
    const type = png.toString('latin1', at + 4, at + 8)
    if (type === 'IHDR') [width, height, channels] = headerOf(data)
    if (type === 'IDAT') parts.push(data)
    at += 12 + length
  }
  const maxOutputLength = height * (1 + width * channels)
  const lines = maxOutputLength === 0 ? undefined : await inflateAsync(Buffer.concat(parts), { maxOutputLength }).catch(() => undefined)
  const settings = await readSettings(png).catch(() => undefined)
  if (lines?.length !== maxOutputLength || settings === undefined) throw damaged()
  return new GeneratedImage(unfiltered(lines, width, height, channels), width, height, settings as GenerationSettings)
}

function headerOf(header: Buffer): [number, number, number] {
  const [depth, color, , , interlaced] = header.subarray(8, 13)
  if (header.length !== 13 || depth !== 8 || interlaced !== 0 || (color !== 2 && color !== 6)) throw damaged()
  return [header.readUInt32BE(0), header.readUInt32BE(4), color === 2 ? 3 : 4]
}

/** Undoes the five filters of PNG, and adds alpha. */
function unfiltered(lines: Buffer, width: number, height: number, channels: number): Uint8ClampedArray<ArrayBuffer> {
  const stride = width * channels
  const rgba = new Uint8ClampedArray(width * height * 4).fill(255)
  let above: Uint8Array = new Uint8Array(stride)
  for (let y = 0; y < height; y++) {
    const filter = lines[y * (stride + 1)]
    const line = lines.subarray(y * (stride + 1) + 1, (y + 1) * (stride + 1))
    for (let i = 0; i < stride; i++) {
      const left = i < channels ? 0 : line[i - channels]!
      const up = above[i]!
      const corner = i < channels ? 0 : above[i - channels]!
      const guess = filter === 1 ? left : filter === 2 ? up : filter === 3 ? (left + up) >> 1 : filter === 4 ? paeth(left, up, corner) : 0
      line[i] = line[i]! + guess
    }
    for (let x = 0; x < width; x++)
      for (let c = 0; c < channels; c++) rgba[(y * width + x) * 4 + c] = line[x * channels + c]!
    above = line
  }
  return rgba
}

function paeth(left: number, up: number, corner: number): number {
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)]
  return a <= b && a <= c ? left : b <= c ? up : corner
}

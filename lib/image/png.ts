import path from 'node:path'
import { Worker } from 'node:worker_threads'
import { AsdmError } from '../base/errors'
import { decodeHere, encodeHere, type PngJob } from './png-codec'

/** Pictures of up to this many pixels are coded on the calling thread, where it takes a few milliseconds; larger ones in a worker. */
const pixelsHere = 128 * 128

const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)

/** Encodes RGBA (4 bytes a pixel, row-major) as an RGB PNG with the given text chunks. Does not block the event loop. */
export async function encodePng(rgba: Uint8ClampedArray, width: number, height: number, texts: Readonly<Record<string, string>> = {}): Promise<Buffer> {
  const png = width * height <= pixelsHere
    ? encodeHere(rgba, width, height)
    : await inWorker({ kind: 'encode', rgba: rgba.slice(), width, height })
  return withTexts(png, texts)
}

/**
 * Decodes a PNG of any kind to RGBA with 8 bits a channel.
 * @param where what the bytes are, for messages
 * @param check is handed width and height before anything is unpacked, so that a hostile size costs nothing; it may throw
 * @throws AsdmError `UNSUPPORTED_FORMAT` when it is no PNG, `FILE_READ` when it is broken
 */
export async function decodePng(png: Uint8Array, where: string, check: (width: number, height: number) => void): Promise<{ rgba: Uint8ClampedArray, width: number, height: number }> {
  if (!hasSignature(png)) throw new AsdmError('UNSUPPORTED_FORMAT', `Expected ${where} to be a PNG but it does not start as one; convert it to PNG first`)
  const size = pngSize(png)
  if (size === undefined) throw new AsdmError('FILE_READ', `Expected ${where} to be a PNG with a header but it is truncated or damaged`)
  const { width, height } = size
  check(width, height)
  let rgba: Uint8Array
  try {
    rgba = width * height <= pixelsHere ? decodeHere(png) : await inWorker({ kind: 'decode', png: new Uint8Array(png) })
  } catch (error) {
    throw new AsdmError('FILE_READ', `Expected ${where} to be a whole PNG but it does not decode: ${(error as Error).message}`, { cause: error })
  }
  if (rgba.length !== width * height * 4)
    throw new AsdmError('FILE_READ', `Expected ${where} to hold ${width}x${height} pixels but it holds ${rgba.length / 4}`)
  return { rgba: new Uint8ClampedArray(rgba.buffer, rgba.byteOffset, rgba.length), width, height }
}

/** Width and height of a PNG by its header; `undefined` where there is none. */
export function pngSize(png: Uint8Array): { width: number, height: number } | undefined {
  if (!hasSignature(png) || png.length < 33) return undefined
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength)
  if (view.getUint32(8) !== 13 || view.getUint32(12) !== 0x49484452) return undefined
  return { width: view.getUint32(16), height: view.getUint32(20) }
}

function hasSignature(bytes: Uint8Array): boolean {
  return bytes.length >= 8 && signature.every((byte, i) => bytes[i] === byte)
}

/** The text chunks (`tEXt`) of a PNG, by keyword. Broken chunks end the list; nothing throws. */
export function pngTexts(png: Uint8Array): Record<string, string> {
  const texts: Record<string, string> = Object.create(null)
  const bytes = Buffer.from(png.buffer, png.byteOffset, png.byteLength)
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = bytes.readUInt32BE(at)
    if (at + 12 + length > bytes.length) break
    const data = bytes.subarray(at + 8, at + 8 + length)
    const zero = data.indexOf(0)
    if (bytes.toString('latin1', at + 4, at + 8) === 'tEXt' && zero > 0)
      texts[data.toString('latin1', 0, zero)] = data.toString('latin1', zero + 1)
    at += 12 + length
  }
  return texts
}

/** Puts text chunks behind the header, where readers look first. Texts hold ASCII. */
function withTexts(png: Uint8Array, texts: Readonly<Record<string, string>>): Buffer {
  const afterHeader = 33
  return Buffer.concat([png.subarray(0, afterHeader), ...Object.entries(texts).map(textChunk), png.subarray(afterHeader)])
}

function textChunk([keyword, text]: [string, string]): Buffer {
  const data = Buffer.from(`tEXt${keyword}\0${text}`, 'latin1')
  const chunk = Buffer.alloc(data.length + 8)
  chunk.writeUInt32BE(data.length - 4, 0)
  data.copy(chunk, 4)
  chunk.writeUInt32BE(crc32(data), 4 + data.length)
  return chunk
}

/** CRC-32 of PNG (ISO 3309); `zlib.crc32` is missing from the first versions of Node 20. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return (crc ^ 0xffffffff) >>> 0
}

function inWorker(job: PngJob): Promise<Uint8Array> {
  const transfer = [job.kind === 'encode' ? job.rgba.buffer : job.png.buffer] as ArrayBuffer[]
  return new Promise((resolve, reject) => {
    const worker = new Worker(path.join(__dirname, 'png-worker.js'), { workerData: job, transferList: transfer, execArgv: [] })
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.once('exit', () => reject(new Error('the PNG worker ended early')))
  })
}

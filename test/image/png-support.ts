import zlib from 'node:zlib'
import { crc32ByTable } from '../../lib/image/png/crc'

/** A chunk's bytes, written without the code under test but for the CRC, which has a test of its own. */
export function chunk(type: string, data: Uint8Array = new Uint8Array(0), change: { crc?: number, length?: number } = {}): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const out = Buffer.alloc(body.length + 8)
  out.writeUInt32BE(change.length ?? data.length, 0)
  body.copy(out, 4)
  out.writeUInt32BE((crc32ByTable(body) ^ (change.crc ?? 0)) >>> 0, 4 + body.length)
  return out
}

export function header(width: number, height: number, { depth = 8, type = 2, interlace = 0, compression = 0, filter = 0 } = {}): Buffer {
  const data = Buffer.alloc(13)
  data.writeUInt32BE(width, 0)
  data.writeUInt32BE(height, 4)
  data.set([depth, type, compression, filter, interlace], 8)
  return chunk('IHDR', data)
}

export const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
export const end = chunk('IEND')

/** An IDAT chunk of data that is not compressed yet. */
export const imageData = (raw: Uint8Array): Buffer => chunk('IDAT', zlib.deflateSync(raw))

export const png = (...chunks: Uint8Array[]): Buffer => Buffer.concat([signature, ...chunks])

/** `count` zero bytes, deflated without holding them. */
export async function deflatedZeros(count: number): Promise<Buffer> {
  const deflate = zlib.createDeflate({ level: 9 })
  const parts: Buffer[] = []
  deflate.on('data', (part: Buffer) => parts.push(part))
  const zeros = Buffer.alloc(1 << 20)
  for (let left = count; left > 0; left -= zeros.length)
    await new Promise<void>(resolve => { deflate.write(zeros.subarray(0, Math.min(left, zeros.length)), () => resolve()) })
  await new Promise<void>(resolve => { deflate.end(() => resolve()) })
  if (!deflate.readableEnded) await new Promise<void>(resolve => { deflate.once('end', () => resolve()) })
  return Buffer.concat(parts)
}

/** The PNG of a gradient, RGB with 8 bits. */
export function gradient(width: number, height: number): Buffer {
  const raw = new Uint8Array(height * (1 + width * 3))
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) raw.set([x * 4, y * 4, 128], y * (1 + width * 3) + 1 + x * 3)
  return png(header(width, height), imageData(raw), end)
}

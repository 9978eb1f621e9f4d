import { createDeflate, constants } from 'node:zlib'
import { abortError, throwIfAborted } from '../../base/errors'
import { Slices } from '../../base/slices'
import { pngSignature, writeChunk } from './chunks'
import { paeth } from './rows'
import { writeTexts } from './text'

/** Filtered bytes handed to zlib at once. */
const pieceBytes = 1 << 18

/**
 * Encodes RGBA (4 bytes a pixel, row-major; alpha is left out) as an RGB PNG with the given texts. Deflate runs in libuv's pool; filters
 * are chosen on the event loop, a few milliseconds at a time.
 * @throws an `AbortError` when the signal fires
 */
export async function encodePng(
  rgba: Uint8ClampedArray | Uint8Array, width: number, height: number, texts: Readonly<Record<string, string>> = {}, signal?: AbortSignal,
): Promise<Buffer<ArrayBuffer>> {
  throwIfAborted(signal)
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 2, 0, 0, 0], 8)
  const parts: Uint8Array[] = [pngSignature(), writeChunk('IHDR', header), ...writeTexts(texts)]

  const deflate = createDeflate({ level: 6, memLevel: 9, strategy: constants.Z_FILTERED, chunkSize: 1 << 16 })
  deflate.on('data', (piece: Buffer) => parts.push(writeChunk('IDAT', piece)))
  const failed = new Promise<never>((_resolve, reject) => deflate.once('error', reject))
  failed.catch(() => {})
  const ended = new Promise<void>(resolve => deflate.once('end', resolve))
  const abort = (): void => { deflate.destroy(abortError(signal!.reason)) }
  signal?.addEventListener('abort', abort, { once: true })
  try {
    for await (const piece of filteredRows(rgba, width, height, new Slices(signal)))
      await Promise.race([new Promise<void>(resolve => { deflate.write(piece, () => resolve()) }), failed])
    deflate.end()
    await Promise.race([ended, failed])
  } finally {
    signal?.removeEventListener('abort', abort)
    deflate.destroy()
  }
  return Buffer.concat([...parts, writeChunk('IEND', new Uint8Array(0))])
}

/**
 * The rows as RGB behind their filter bytes, in pieces. For each row the filter is chosen whose output, read as signed bytes, has the least
 * sum of magnitudes (PNG specification, 12.7).
 */
async function* filteredRows(
  rgba: Uint8ClampedArray | Uint8Array, width: number, height: number, slices: Slices,
): AsyncGenerator<Uint8Array> {
  const bytes = width * 3
  let row = new Uint8Array(bytes + 3)
  let above = new Uint8Array(bytes + 3)
  const rowsAtOnce = Math.max(1, Math.floor(pieceBytes / (bytes + 1)))
  for (let start = 0; start < height; start += rowsAtOnce) {
    const rows = Math.min(rowsAtOnce, height - start)
    const piece = new Uint8Array(rows * (bytes + 1))
    for (let y = 0; y < rows; y++) {
      for (let x = 0, from = (start + y) * width * 4, to = 3; x < width; x++, from += 4, to += 3) {
        row[to] = rgba[from]!
        row[to + 1] = rgba[from + 1]!
        row[to + 2] = rgba[from + 2]!
      }
      filterRow(row, above, piece.subarray(y * (bytes + 1), (y + 1) * (bytes + 1)))
      const next = above
      above = row
      row = next
      if (slices.over) await slices.next()
    }
    yield piece
  }
}

/**
 * Filters `row` into `out`, filter byte first. Before `row` and `above` lie three zero bytes, so that a pixel to the left is always there.
 */
function filterRow(row: Uint8Array, above: Uint8Array, out: Uint8Array): void {
  let none = 0
  let sub = 0
  let up = 0
  let average = 0
  let predicted = 0
  for (let i = 3; i < row.length; i++) {
    const [value, left, over] = [row[i]!, row[i - 3]!, above[i]!]
    none += magnitude(value)
    sub += magnitude(value - left)
    up += magnitude(value - over)
    average += magnitude(value - ((left + over) >> 1))
    predicted += magnitude(value - paeth(left, over, above[i - 3]!))
  }
  const least = Math.min(none, sub, up, average, predicted)
  out[0] = [none, sub, up, average, predicted].indexOf(least)
  const count = row.length - 3
  switch (out[0]) {
    case 0: out.set(row.subarray(3), 1); break
    case 1: for (let i = 0; i < count; i++) out[i + 1] = row[i + 3]! - row[i]!; break
    case 2: for (let i = 0; i < count; i++) out[i + 1] = row[i + 3]! - above[i + 3]!; break
    case 3: for (let i = 0; i < count; i++) out[i + 1] = row[i + 3]! - ((row[i]! + above[i + 3]!) >> 1); break
    default: for (let i = 0; i < count; i++) out[i + 1] = row[i + 3]! - paeth(row[i]!, above[i + 3]!, above[i]!)
  }
}

/** Of a difference of bytes, as a signed byte. */
function magnitude(difference: number): number {
  const byte = difference & 255
  return byte < 128 ? byte : 256 - byte
}

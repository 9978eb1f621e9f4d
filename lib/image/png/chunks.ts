import { crc32 } from './crc'

const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)

/** Bytes of a chunk beside its data: length, type, CRC. */
const chunkOverhead = 12

/** One chunk of a PNG file. */
export interface Chunk {
  /** Four letters. */
  type: string
  /** A view into the file. */
  data: Uint8Array
  /** What the file says the CRC-32 of type and data is. */
  crc: number
}

/** Does this begin as every PNG does? */
export function hasPngSignature(bytes: Uint8Array): boolean {
  return bytes.length >= signature.length && signature.every((byte, i) => bytes[i] === byte)
}

/**
 * The chunks of a PNG in order, none of them checked but for its bounds. `undefined` takes the place of a chunk that is cut short or whose
 * type is no four letters, and ends the list.
 */
export function* readChunks(png: Uint8Array): Generator<Chunk | undefined, void> {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength)
  for (let at = signature.length; at < png.length;) {
    const length = at + chunkOverhead <= png.length ? view.getUint32(at) : Infinity
    const end = at + chunkOverhead + length
    if (end > png.length || !png.subarray(at + 4, at + 8).every(isLetter)) {
      yield undefined
      return
    }
    yield { type: String.fromCharCode(...png.subarray(at + 4, at + 8)), data: png.subarray(at + 8, end - 4), crc: view.getUint32(end - 4) }
    at = end
  }
}

/** CRC-32 of a chunk's type, which that of its data goes on from. */
export function crcOfType(type: string): number {
  return crc32(Buffer.from(type, 'latin1'))
}

/** Must a decoder that does not know this chunk refuse the file? */
export function isCritical(type: string): boolean {
  return (type.charCodeAt(0) & 0x20) === 0
}

/** The bytes of one chunk. */
export function writeChunk(type: string, data: Uint8Array): Buffer<ArrayBuffer> {
  const chunk = Buffer.alloc(chunkOverhead + data.length)
  chunk.writeUInt32BE(data.length, 0)
  chunk.write(type, 4, 'latin1')
  chunk.set(data, 8)
  chunk.writeUInt32BE(crc32(chunk.subarray(4, 8 + data.length)), 8 + data.length)
  return chunk
}

/** What every PNG begins with. */
export function pngSignature(): Uint8Array {
  return signature.slice()
}

function isLetter(byte: number): boolean {
  return (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a)
}

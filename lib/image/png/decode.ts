import { AsdmError, isAbortError, throwIfAborted } from '../../base/errors'
import { Slices } from '../../base/slices'
import { crcOfType, hasPngSignature, isCritical, readChunks, type Chunk } from './chunks'
import { crc32 } from './crc'
import { readHeader } from './header'
import { Inflater } from './inflate'
import { dataBytes, PngRows } from './rows'

/** A decoded image: RGB, 8 bits a sample, row by row from the top left. */
export interface DecodedImage {
  /** [height, width, 3] */
  data: Uint8Array<ArrayBuffer>
  /** In pixels. */
  width: number
  /** In pixels. */
  height: number
  /** [height, width], 255 where nothing is transparent; where it was asked for. */
  alpha?: Uint8Array<ArrayBuffer>
}

/** What is wanted of a PNG besides its colours. */
interface DecodeOptions {
  /** Alpha, or what tRNS says of it. */
  alpha?: boolean
}

/** Bytes whose checksum is taken at once. */
const crcBytes = 1 << 20

/** Deflate makes at most 1032 bytes of one. */
const mostRatio = 1032

/**
 * Decodes a PNG of any colour type, depth and interlacing to RGB; alpha is left out unless it is asked for. Inflating runs in libuv's pool,
 * and the event loop is held for a few milliseconds at a time. Memory is taken for the image that the header promises and nothing else,
 * after `check` has agreed to its size. A file is refused unless its critical chunks have the right order and checksums and hold exactly
 * what the header promises; bytes after its end and behind the compressed data do no harm.
 * @param where what the bytes are, for messages
 * @param check is handed width and height first; it may throw
 * @throws AsdmError `UNSUPPORTED_FORMAT` when it is no PNG, `FILE_READ` when it is damaged; an `AbortError` when the signal fires
 */
export async function decodePng(
  png: Uint8Array, where: string, check: (width: number, height: number) => void, signal?: AbortSignal,
  { alpha = false }: DecodeOptions = {},
): Promise<DecodedImage> {
  throwIfAborted(signal)
  if (!hasPngSignature(png)) throw new AsdmError('UNSUPPORTED_FORMAT', `Expected ${where} to be a PNG but it does not start as one`)
  const damaged = (problem: string, cause?: unknown): AsdmError =>
    new AsdmError('FILE_READ', `Expected ${where} to be a whole PNG but ${problem}`, { cause })
  const header = readHeader(png)
  if (typeof header === 'string') throw damaged(header)
  check(header.width, header.height)
  if (dataBytes(header) > png.length * mostRatio)
    throw damaged(`its ${png.length} bytes cannot hold ${header.width}x${header.height} pixels`)

  const slices = new Slices(signal)
  const chunks = new ChunkOrder(header.colourType)
  let rows: PngRows | undefined
  let inflater: Inflater | undefined
  try {
    for (const chunk of readChunks(png)) {
      if (slices.over) await slices.next()
      const problem = chunk === undefined ? 'it is cut short or damaged' : chunks.problem(chunk)
      if (problem !== undefined) throw damaged(problem)
      const { type, data, crc } = chunk!
      if (!isCritical(type) && !(alpha && type === 'tRNS')) continue
      let sum = crcOfType(type)
      if (type === 'IDAT' && inflater === undefined) {
        const target = rows = new PngRows(header, chunks.palette, alpha ? chunks.transparency ?? 'none' : undefined)
        inflater = new Inflater(piece => {
          const wrong = target.take(piece)
          return wrong === undefined ? undefined : damaged(wrong)
        }, signal)
      }
      for (let at = 0; at < data.length; at += crcBytes) {
        const piece = data.subarray(at, at + crcBytes)
        sum = crc32(piece, sum)
        if (type === 'IDAT') await inflater!.write(piece)
        if (slices.over) await slices.next()
      }
      if (sum !== crc) throw damaged(`the checksum of its chunk ${type} is wrong`)
      if (type === 'IEND') break
    }
    if (!chunks.ended) throw damaged('it is cut short')
    await inflater!.end()
    if (!rows!.whole) throw damaged('its image data ends early')
    return { data: rows!.rgb, width: header.width, height: header.height, ...(rows!.alpha && { alpha: rows!.alpha }) }
  } catch (error) {
    if (error instanceof AsdmError || isAbortError(error)) throw error
    throw damaged(`its image data does not inflate: ${(error as Error).message}`, error)
  } finally {
    inflater?.close()
  }
}

/** Width and height of a PNG by its header, of which the first 33 bytes are enough; `undefined` where there is none. */
export function pngSize(png: Uint8Array): { width: number, height: number } | undefined {
  const header = readHeader(png)
  return typeof header === 'string' ? undefined : { width: header.width, height: header.height }
}

/** What chunks there may be and in which order. */
class ChunkOrder {
  /** Has the IEND chunk come? */
  ended = false
  /** RGB of each entry. */
  palette: Uint8Array | undefined
  /** Alpha of the palette's entries, or the one colour that is transparent, two bytes a sample. */
  transparency: Uint8Array | undefined
  #chunks = 0
  #data: 'before' | 'in' | 'after' = 'before'

  constructor(private readonly colourType: number) {}

  /** Takes the next chunk; gives what is wrong with it. */
  problem({ type, data }: Chunk): string | undefined {
    const first = this.#chunks++ === 0
    if (this.#data === 'in' && type !== 'IDAT') this.#data = 'after'
    switch (type) {
      case 'IHDR':
        return first ? undefined : 'it has a second header'
      case 'PLTE':
        if (this.palette !== undefined) return 'it has a second palette'
        if (this.#data !== 'before') return 'its palette comes after image data'
        if (data.length === 0 || data.length % 3 !== 0 || data.length > 768) return `its palette has ${data.length} bytes`
        this.palette = data
        return undefined
      case 'IDAT':
        if (this.#data === 'after') return 'other chunks lie between its image data'
        if (this.colourType === 3 && this.palette === undefined) return 'its palette is missing'
        this.#data = 'in'
        return undefined
      case 'tRNS':
        // What does not fit the colours counts for nothing, as in PIL.
        if (this.#data === 'before' && (this.colourType === 3 ? data.length <= 256 : data.length === (this.colourType === 0 ? 2 : 6)))
          this.transparency = data
        return undefined
      case 'IEND':
        if (data.length > 0) return 'its end chunk holds data'
        if (this.#data === 'before') return 'it holds no image data'
        this.ended = true
        return undefined
    }
    return isCritical(type) ? `it has a chunk ${type}, which is unknown` : undefined
  }
}

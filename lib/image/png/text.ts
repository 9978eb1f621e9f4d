import { promisify } from 'node:util'
import { inflate } from 'node:zlib'
import { Slices } from '../../base/slices'
import { readChunks, writeChunk } from './chunks'

const inflateAsync = promisify(inflate)

/** Longest text that a compressed chunk may unpack to. */
const maxTextBytes = 8 * 2 ** 20

/**
 * The texts of a PNG by keyword, from its chunks tEXt, zTXt and iTXt; the first of a keyword counts. Damaged chunks, and compressed ones
 * that unpack to more than 8 MiB, are passed over.
 * @param wanted the keywords to read
 */
export async function readTexts(png: Uint8Array, wanted: readonly string[]): Promise<Map<string, string>> {
  const texts = new Map<string, string>()
  const slices = new Slices()
  for (const chunk of readChunks(png)) {
    if (slices.over) await slices.next()
    if (chunk === undefined) break
    if (chunk.type !== 'tEXt' && chunk.type !== 'zTXt' && chunk.type !== 'iTXt') continue
    const data = Buffer.from(chunk.data.buffer, chunk.data.byteOffset, chunk.data.byteLength)
    // A keyword has at most 79 bytes.
    const zero = data.subarray(0, 80).indexOf(0)
    const keyword = data.toString('latin1', 0, zero)
    if (zero <= 0 || texts.has(keyword) || !wanted.includes(keyword)) continue
    const text = await textOf(chunk.type, data.subarray(zero + 1))
    if (text !== undefined) texts.set(keyword, text)
  }
  return texts
}

/** What stands behind the keyword. */
async function textOf(type: 'tEXt' | 'zTXt' | 'iTXt', data: Buffer): Promise<string | undefined> {
  if (type === 'tEXt') return data.toString('latin1')
  if (type === 'zTXt') return data[0] === 0 ? (await unpacked(data.subarray(1)))?.toString('latin1') : undefined
  const [compressed, method] = data
  const language = data.indexOf(0, 2)
  const translated = language < 0 ? -1 : data.indexOf(0, language + 1)
  if (translated < 0 || compressed === undefined || compressed > 1 || (compressed === 1 && method !== 0)) return undefined
  const bytes = data.subarray(translated + 1)
  return (compressed === 1 ? await unpacked(bytes) : bytes)?.toString('utf8')
}

async function unpacked(data: Buffer): Promise<Buffer | undefined> {
  try {
    return await inflateAsync(data, { maxOutputLength: maxTextBytes })
  } catch {
    return undefined
  }
}

/**
 * Text chunks: tEXt for what Latin-1 holds, else iTXt, as PIL's `PngInfo.add_text` chooses. A NUL, which neither may hold, becomes a space.
 */
export function writeTexts(texts: Readonly<Record<string, string>>): Buffer<ArrayBuffer>[] {
  return Object.entries(texts).map(([keyword, given]) => {
    const text = given.replaceAll('\0', ' ')
    return /^[\x00-\xff]*$/.test(text)
      ? writeChunk('tEXt', Buffer.from(`${keyword}\0${text}`, 'latin1'))
      : writeChunk('iTXt', Buffer.concat([Buffer.from(`${keyword}\0\0\0\0\0`, 'latin1'), Buffer.from(text, 'utf8')]))
  })
}

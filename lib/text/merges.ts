/** A tokenizer's merges: where they lie, what they say, and the vocabulary that they stand for by themselves. */
import path from 'node:path'
import { promisify } from 'node:util'
import { brotliDecompress } from 'node:zlib'
import { AsdmError, shown } from '../base/errors'
import { fileExists, readAt, shownPath, withFile } from '../files/files'
import { BYTE_CHARACTERS, END_OF_WORD, MAX_IDS } from './byte-pairs'

/** CLIP's merges take 0.5 MB; larger files are refused unread. */
const MAX_MERGES_BYTES = 4 * 2 ** 20
const PACKED_MERGES = 'merges.txt.br'

const decompress = promisify(brotliDecompress)

/** Ids of a pair's parts and of what they make, best first. */
export type Merges = [left: number, right: number, merged: number][]

/**
 * The vocabulary that merges stand for by themselves, as in OpenAI's CLIP, which was published with them alone: the byte
 * characters in the order of their code points, these at the end of a word, what each merge makes, start and end.
 */
export function vocabularyOfMerges(lines: readonly string[], file: string): Map<string, number> {
  const symbols = [...BYTE_CHARACTERS].sort()
  const merged = lines.filter(isMerge).map(line => line.replace(' ', ''))
  const tokens = new Set([...symbols, ...symbols.map(symbol => symbol + END_OF_WORD), ...merged, '<|startoftext|>', '<|endoftext|>'])
  if (tokens.size > MAX_IDS)
    throw new AsdmError('BAD_CONFIG', `Expected merges of at most ${MAX_IDS} tokens in ${shownPath(file)} but received ${tokens.size}`)
  return new Map([...tokens].map((token, id) => [token, id]))
}

const isMerge = (line: string): boolean => line !== '' && !line.startsWith('#version')

/** Lines of `left right`, best first; `#version` lines and empty lines are passed over. */
export function parseMerges(lines: readonly string[], file: string, vocabulary: ReadonlyMap<string, number>): Merges {
  const merges: Merges = []
  lines.forEach((line, index) => {
    if (!isMerge(line)) return
    const [left = '', right = '', ...more] = line.split(' ')
    const bad = (problem: string): AsdmError =>
      new AsdmError('BAD_CONFIG', `Expected line ${index + 1} of ${shownPath(file)} to ${problem} but received ${shown(line)}`)
    if (left === '' || right === '' || more.length > 0) throw bad('hold two tokens and one space')
    const ids = [left, right, left + right].map(token => vocabulary.get(token))
    const missing = ids.indexOf(undefined)
    if (missing >= 0) throw bad(`name ${missing === 2 ? 'parts that make a token' : 'tokens'} of the vocabulary`)
    if (merges.length === MAX_IDS) throw bad(`be one of at most ${MAX_IDS} merges`)
    merges.push(ids as [number, number, number])
  })
  return merges
}

/** Where a folder has its merges: in `merges.txt` or, where that is missing, compressed, as this package brings CLIP's. */
export async function mergesOf(folder: string): Promise<string> {
  const [plain, packed] = [path.join(folder, 'merges.txt'), path.join(folder, PACKED_MERGES)]
  return !await fileExists(plain) && await fileExists(packed) ? packed : plain
}

/** The text of a folder's merges. @throws AsdmError as {@link readMerges} does */
export async function readMergesOf(folder: string): Promise<string> {
  return readMerges(await mergesOf(folder))
}

/** The text of a file of merges. @throws AsdmError `FILE_NOT_FOUND`, `FILE_READ`, `BAD_CONFIG` */
export async function readMerges(file: string): Promise<string> {
  return withFile(file, async (handle, bytes) => {
    if (bytes > MAX_MERGES_BYTES)
      throw new AsdmError('BAD_CONFIG', `Expected ${shownPath(file)} to have at most ${MAX_MERGES_BYTES} bytes but it has ${bytes}`)
    const stored = await readAt(handle, 0, bytes, file)
    const content = path.basename(file) === PACKED_MERGES ? await unpacked(stored, file) : stored
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(content)
    } catch (cause) {
      throw new AsdmError('BAD_CONFIG', `Expected ${shownPath(file)} to hold UTF-8 text`, { cause })
    }
  })
}

async function unpacked(stored: Uint8Array, file: string): Promise<Uint8Array> {
  try {
    return await decompress(stored, { maxOutputLength: MAX_MERGES_BYTES })
  } catch (cause) {
    throw new AsdmError(
      'BAD_CONFIG', `Expected ${shownPath(file)} to be text of at most ${MAX_MERGES_BYTES} bytes compressed with brotli`, { cause },
    )
  }
}

/** Textual inversion embeddings: vectors that are added to the text encoder's table, and words that stand for them (arXiv 2208.01618). */
import { mkdtemp, open, rm } from 'node:fs/promises'
import os from 'node:os'
import pathModule from 'node:path'
import { AsdmError, shown, throwIfAborted } from '../base/errors'
import { checkOptions, optional, path } from '../base/options'
import { listOf } from '../base/reading'
import { isFileError, shownPath, writeError } from '../files/files'
import { readSafetensorsHeader } from '../files/safetensors'
import type { Checkpoint } from '../model/checkpoint'
import { readConverted } from '../model/dtype'
import { checkDType, firstFew, type FoundTensor } from '../model/weights'
import type { StoredDType, WeightSource } from '../native/configs'
import type { EmbeddingWord, Tokenizer } from './tokenizer'

/** A textual inversion embedding. */
export interface EmbeddingOptions {
  /** Its `.safetensors` file. */
  path: string
  /** The word that stands for it in prompts; the one in the file if left out, or else the file's name without `.safetensors`. */
  token?: string | undefined
}

/** A checkpoint and its tokenizer with embeddings. */
interface ExtendedCheckpoint {
  checkpoint: Checkpoint
  tokenizer: Tokenizer
  /** Removes the file that the extended table lies in; it cannot be read any more. Twice is fine. */
  dispose(): Promise<void>
}

/** Most embeddings of one model, and most vectors of one. */
const mostEmbeddings = 1000
const mostVectors = 1024
/** Longest word; every place of a prompt is compared with it. */
const longestWord = 256

const table = 'embeddings.token_embedding.weight'

/** Names that tensors of embeddings have where they are not the word: AUTOMATIC1111's. */
const nameless: readonly string[] = ['emb_params', 'string_to_param.*', '*']

/**
 * The option `embeddings`.
 * @throws AsdmError `INVALID_ARGUMENT`
 */
export function parseEmbeddings(value: unknown): EmbeddingOptions[] {
  if (value === undefined) return []
  return listOf(value, 'embeddings', mostEmbeddings).map((item, i) => {
    const given = checkOptions(item, ['path', 'token'], `embeddings[${i}]`)
    const file = pathModule.resolve(path(given.path, `embeddings[${i}].path`))
    const token = optional(given.token, word => {
      if (typeof word === 'string' && isWord(word)) return word
      throw new AsdmError('INVALID_ARGUMENT', `Expected embeddings[${i}].token to be a word without white space but received ${shown(word)}`)
    })
    return { path: file, token }
  })
}

function isWord(text: string): boolean {
  return text !== '' && text.length <= longestWord && !/[\p{White_Space}\p{Surrogate}\0]/u.test(text)
}

/**
 * Adds embeddings to a checkpoint's text encoder and tokenizer. The extended table is float32 and lies in a temporary file until
 * {@link ExtendedCheckpoint.dispose}. Without embeddings both stay what they are.
 * @throws AsdmError `FILE_NOT_FOUND`, `FILE_READ`, `BAD_SAFETENSORS`, `UNSUPPORTED_FORMAT` for a file that is no embedding of this kind of
 * model, `TENSOR_SHAPE` for one of another base model, `TENSOR_DTYPE`, `FILE_WRITE`; `INVALID_ARGUMENT` for a word that is taken; an
 * `AbortError`
 */
export async function addEmbeddings(
  checkpoint: Checkpoint, tokenizer: Tokenizer, embeddings: readonly EmbeddingOptions[], signal: AbortSignal | undefined,
): Promise<ExtendedCheckpoint> {
  const { textEncoder } = checkpoint
  const old = textEncoder.weights.find(({ name }) => name === table)
  // Where the table is missing, the text encoder says so.
  if (embeddings.length === 0 || old === undefined) return { checkpoint, tokenizer, dispose: async () => {} }

  const words: EmbeddingWord[] = []
  const rows: WeightSource[] = []
  let vocabSize = textEncoder.config.vocabSize
  for (const { path: file, token } of embeddings) {
    throwIfAborted(signal)
    const { word, source, vectors } = await openEmbedding(file, token, textEncoder.config.hiddenSize)
    if (tokenizer.isSpecial(word) || words.some(other => other.word.toLowerCase() === word.toLowerCase()))
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected a word of its own for the embedding ${shownPath(file)} but ${shown(word)} is taken; give { token }`)
    words.push({ word, ids: Array.from({ length: vectors }, (_, i) => vocabSize + i) })
    rows.push(source)
    vocabSize += vectors
  }

  checkDType(old.name, old.dtype, old.file)
  const folder = await mkdtemp(pathModule.join(os.tmpdir(), 'asdm-embeddings-'))
  const dispose = async (): Promise<void> => rm(folder, { recursive: true, force: true })
  try {
    const file = pathModule.join(folder, 'table.weights')
    const end = await writeFloats([old, ...rows], file, signal)
    // Of a table that is not as long as the config says, the text encoder says so.
    const shape = [old.shape[0]! + vocabSize - textEncoder.config.vocabSize, ...old.shape.slice(1)]
    const extended: WeightSource = { ...old, file, dtype: 'F32', shape, begin: 0, end, merged: true }
    return {
      checkpoint: {
        ...checkpoint,
        textEncoder: {
          ...textEncoder, config: { ...textEncoder.config, vocabSize },
          weights: textEncoder.weights.map(source => (source === old ? extended : source)),
        },
      },
      tokenizer: tokenizer.withEmbeddings(words), dispose,
    }
  } catch (error) {
    await dispose()
    throw isFileError(error) ? writeError(error, folder) : error
  }
}

/** Writes tensors as float32, one behind the other; gives the length of all. */
async function writeFloats(sources: readonly WeightSource[], file: string, signal: AbortSignal | undefined): Promise<number> {
  const handle = await open(file, 'wx')
  try {
    let end = 0
    for (const source of sources)
      for await (const piece of readConverted([source], 'F32', source.name, signal)) {
        // Unlike write, which may stop half-way on a full disk.
        await handle.appendFile(piece)
        end += piece.byteLength
      }
    return end
  } finally {
    await handle.close()
  }
}

/** Reads an embedding's header: one tensor, [width] or [vectors, width]. */
async function openEmbedding(
  file: string, token: string | undefined, width: number,
): Promise<{ word: string, source: WeightSource, vectors: number }> {
  const { tensors } = await readSafetensorsHeader(file)
  const found: FoundTensor[] = [...tensors].map(([name, stored]) => ({ name, file, ...stored }))
  const [tensor] = found
  if (tensor === undefined || found.length > 1)
    throw new AsdmError('UNSUPPORTED_FORMAT',
      `Expected a textual inversion embedding for Stable Diffusion 1 or 2, one tensor, in ${shownPath(file)} but it holds `
      + (tensor === undefined ? 'none' : `${found.length}: ${firstFew(found.map(({ name }) => name))}`))
  const [vectors, own] = tensor.shape.length === 1 ? [1, tensor.shape[0]] : tensor.shape
  if (tensor.shape.length > 2 || own !== width || vectors < 1 || vectors > mostVectors)
    throw new AsdmError('TENSOR_SHAPE',
      `Expected an embedding of 1 to ${mostVectors} vectors ${width} wide, as this model's text encoder takes, in ${shownPath(file)} but `
      + `received [${tensor.shape}]`)
  checkDType(tensor.name, tensor.dtype, file)
  const word = token ?? (nameless.includes(tensor.name) ? pathModule.parse(file).name : tensor.name)
  if (!isWord(word))
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected a word without white space for the embedding ${shownPath(file)} but received ${shown(word)}; give { token }`)
  return { word, source: { ...tensor, dtype: tensor.dtype as StoredDType }, vectors }
}

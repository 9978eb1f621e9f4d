import { boolean, checkLoaded, checkOptions, checkWhere, optional } from '../base/options'
import { listOf } from '../base/reading'
import { isInt32Array } from '../base/realms'
import { AsdmError, shown } from '../base/errors'
import { BytePairs } from './byte-pairs'
import { FixedTexts } from './fixed-texts'
import { normalizeText, originalOffset } from './normalize'
import { packagedTokenizer } from './packaged-tokenizer'
import { readTokenizerFiles, tokenBytes, type TokenizerFiles } from './tokenizer-files'

/** Longest text that is tokenized, in UTF-16 units; bounds the memory that one call can take. */
export const MAX_TEXT_LENGTH = 2 ** 21

/** Special tokens as words: what a text that looks like one, but is none (wrong letter case), falls into. */
const SPLIT_SPECIAL = /^(<\|)(startoftext|endoftext)(\|>)$/

/** A prompt's tokens in the model's window. */
export interface Encoding {
  /** Start, the prompt's tokens, end, padding; as long as the window. */
  ids: Int32Array
  /** 1 up to and with the end token, 0 for padding. */
  attentionMask: Int32Array
  /** The part of the prompt that did not fit, without white space around it; empty if all did. */
  truncated: string
}

/** A word of prompts that stands for a textual inversion embedding: the ids of its vectors. */
export interface EmbeddingWord {
  word: string
  ids: readonly number[]
}

/**
 * CLIP's tokenizer: byte-level byte-pair encoding with the ids that transformers' `CLIPTokenizer` gives. The text is normalized
 * (NFC, lower case), special tokens are taken out, the rest is split into contractions, runs of letters, single digits and runs
 * of anything else; each of these words is encoded by itself. A lone surrogate counts as U+FFFD.
 *
 * An instance never changes, so calls may overlap freely.
 */
export class Tokenizer {
  /** Id of the token that begins every prompt. */
  readonly bos: number
  /** Id of the token that ends every prompt. */
  readonly eos: number
  /** Id that fills the window: the end token's in Stable Diffusion 1.x, 0 (`!`) in 2.x. */
  readonly pad: number
  /** Tokens in the window, start and end included. */
  readonly windowLength: number
  /** One more than the largest id. */
  readonly vocabSize: number

  readonly #files: TokenizerFiles
  readonly #pairs: BytePairs
  readonly #tokenOfId: (string | undefined)[] = []
  /** Names of embeddings' vectors. */
  readonly #embeddingOfId = new Map<number, string>()
  readonly #specialIds: Set<number>
  readonly #raw: FixedTexts
  readonly #normalized: FixedTexts

  private constructor(files: TokenizerFiles, embeddings: readonly EmbeddingWord[] = []) {
    checkLoaded(() => files.vocabulary instanceof Map, 'Tokenizer', 'Tokenizer.load')
    this.bos = files.bos
    this.eos = files.eos
    this.pad = files.pad
    this.windowLength = files.windowLength
    this.#files = files
    this.#pairs = new BytePairs(files.vocabulary, files.merges, files.unknown)
    for (const [token, id] of files.vocabulary) this.#tokenOfId[id] = token
    for (const { content, id } of files.specialTokens) this.#tokenOfId[id] ??= content
    for (const { word, ids } of embeddings)
      ids.forEach((id, i) => {
        // As diffusers names them.
        this.#tokenOfId[id] = i === 0 ? word : `${word}_${i}`
        this.#embeddingOfId.set(id, this.#tokenOfId[id])
      })
    this.vocabSize = this.#tokenOfId.length
    this.#specialIds = new Set(files.specialTokens.map(({ id }) => id))
    const special = files.specialTokens.map(({ content, id, normalized }) => ({ content, ids: [id], normalized }))
    this.#raw = new FixedTexts(special.filter(token => !token.normalized))
    this.#normalized = new FixedTexts([
      ...embeddings.map(({ word, ids }) => ({ content: normalizeText(word), ids, whole: true })),
      ...special.filter(token => token.normalized),
    ])
  }

  /**
   * Reads a tokenizer folder of a diffusers model: `vocab.json`, `merges.txt` (or both from `tokenizer.json`), and if they exist
   * `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`. A folder with only the first two is read as
   * CLIP's: window 77, `<|startoftext|>`, `<|endoftext|>` also for padding; one with `merges.txt` alone too, as OpenAI published it:
   * its vocabulary follows from the merges.
   * @throws AsdmError `INVALID_ARGUMENT`, `FILE_NOT_FOUND`, `FILE_READ`, `BAD_JSON`, `BAD_CONFIG` or `UNSUPPORTED_CONFIG`
   */
  static async load(folder: string): Promise<Tokenizer> {
    if (typeof folder !== 'string' || folder === '' || folder.includes('\0'))
      throw new AsdmError('INVALID_ARGUMENT', `Expected the path of a tokenizer folder but received ${shown(folder)}`)
    return new Tokenizer(await readTokenizerFiles(folder))
  }

  /**
   * The CLIP tokenizer that comes with the package (49408 tokens, window 77).
   * @param options `padToken`: the token that fills the window: `<|endoftext|>` unless given, `!` in Stable Diffusion 2.x
   * @throws AsdmError `BAD_CONFIG` when the vocabulary lacks that token, `FILE_NOT_FOUND` when the package's assets are gone
   */
  static async default(options?: { padToken?: string | undefined }): Promise<Tokenizer> {
    const padToken = optional(checkOptions(options, ['padToken'], 'Tokenizer.default').padToken, checkWhere)
    if (padToken !== undefined && typeof padToken !== 'string')
      throw new AsdmError('INVALID_ARGUMENT', `Expected padToken to be a token but received ${shown(padToken)}`)
    return new Tokenizer(await readTokenizerFiles(packagedTokenizer(), padToken))
  }

  /**
   * This tokenizer with words for embeddings, instead of those that it had. They are found in any letter case; one that begins or ends with
   * a letter or digit only where no longer word goes on there.
   * @internal
   */
  withEmbeddings(embeddings: readonly EmbeddingWord[]): Tokenizer {
    return new Tokenizer(this.#files, embeddings)
  }

  /**
   * Whether a text is one of the special tokens.
   * @internal
   */
  isSpecial(text: string): boolean {
    return this.#files.specialTokens.some(({ content }) => normalizeText(content) === normalizeText(text))
  }

  /**
   * The prompt's ids, cut or padded to the window.
   * @throws AsdmError `INVALID_ARGUMENT` when `text` is not a string or longer than 2^21 characters
   */
  encode(text: string): Int32Array {
    return this.encodeWithDetails(text).ids
  }

  /** As {@link encode}, with the attention mask and what was cut. */
  encodeWithDetails(text: string): Encoding {
    const { ids, end } = this.take(text, this.windowLength - 2)
    return { ...this.frame(ids), truncated: trimmed(text.slice(end)) }
  }

  /** A window of the given tokens, at most `windowLength - 2`, between start and end, padded. */
  frame(tokens: readonly number[]): { ids: Int32Array, attentionMask: Int32Array } {
    const list = listOf(tokens, 'tokens', this.windowLength - 2)
    if (!list.every(id => this.#tokenOf(id) !== undefined))
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected at most ${this.windowLength - 2} token ids below ${this.vocabSize} but received ${shown(tokens)}`)
    const ids = new Int32Array(this.windowLength).fill(this.pad)
    ids[0] = this.bos
    ids.set(list as number[], 1)
    ids[list.length + 1] = this.eos
    return { ids, attentionMask: new Int32Array(this.windowLength).fill(1, 0, list.length + 2) }
  }

  #tokenOf(id: unknown): string | undefined {
    return typeof id === 'number' ? this.#tokenOfId[id] : undefined
  }

  /** All ids of a text, however many, without start, end and padding. */
  tokenize(text: string): number[] {
    return this.take(text, Infinity).ids
  }

  /**
   * The first `count` ids of a text, without start, end and padding, and where in the text (in UTF-16 units) the first token
   * that is left out begins; the text's length if none is. Text beyond that place is not looked at.
   */
  take(text: string, count: number): { ids: number[], end: number } {
    if (typeof count !== 'number' || !(count >= 0)) throw new AsdmError('INVALID_ARGUMENT', `Expected a number of tokens from 0 but received ${shown(count)}`)
    if (typeof text !== 'string') throw new AsdmError('INVALID_ARGUMENT', `Expected a text to tokenize but received ${shown(text)}`)
    if (text.length > MAX_TEXT_LENGTH)
      throw new AsdmError('INVALID_ARGUMENT', `Expected a text of at most ${MAX_TEXT_LENGTH} characters but received ${text.length}`)
    const ids: number[] = []
    const wellFormed = text.replace(/\p{Surrogate}/gu, '\ufffd')
    for (const part of this.#raw.split(wellFormed)) {
      if (part.ids !== undefined) {
        if (!append(ids, part.ids, count)) return { ids, end: part.start }
        continue
      }
      // White space makes no tokens and no character composes with it, so each stretch between can be normalized by itself.
      for (const stretch of part.text.matchAll(/\P{White_Space}+/gu)) {
        const cut = this.#takeStretch(stretch[0], count, ids)
        if (cut !== undefined) return { ids, end: part.start + stretch.index + originalOffset(stretch[0], cut) }
      }
    }
    return { ids, end: text.length }
  }

  /**
   * Appends the ids of text without white space, up to `count` in all; gives the place in the normalized text of the first one left out.
   */
  #takeStretch(stretch: string, count: number, ids: number[]): number | undefined {
    for (const part of this.#normalized.split(normalizeText(stretch))) {
      if (part.ids !== undefined) {
        if (!append(ids, part.ids, count)) return part.start
        continue
      }
      for (const { text, start } of words(part.text)) {
        if (ids.length >= count) return part.start + start
        const bytes = Buffer.from(text)
        const tokens = this.#pairs.encode(bytes)
        const room = count - ids.length
        if (!append(ids, tokens.ids, count)) return part.start + start + wholeCharacters(bytes, tokens.starts[room]!)
      }
    }
    return undefined
  }

  /**
   * The text that ids stand for: lower case, a space between words; bytes that are no UTF-8 give U+FFFD. Special tokens
   * (start, end, padding) are left out unless `specialTokens` is true.
   * @throws AsdmError `INVALID_ARGUMENT` for anything but ids of the vocabulary
   */
  decode(ids: ArrayLike<number>, options?: { specialTokens?: boolean | undefined }): string {
    const given = checkOptions(options, ['specialTokens'], 'tokenizer.decode')
    const specialTokens = optional(given.specialTokens, value => boolean(value, 'specialTokens')) ?? false
    const list = isInt32Array(ids) ? ids : listOf(ids, 'token ids', MAX_TEXT_LENGTH)
    const space = Buffer.from(' ')
    const pieces: Buffer[] = []
    for (const id of list) {
      const token = this.#tokenOf(id)
      if (token === undefined)
        throw new AsdmError('INVALID_ARGUMENT', `Expected token ids below ${this.vocabSize} but received ${shown(id)}`)
      const special = this.#specialIds.has(id as number)
      if (special && !specialTokens) continue
      const word = this.#embeddingOfId.get(id as number)
      const { bytes, endsWord } = word === undefined ? tokenBytes(token) : { bytes: Buffer.from(word), endsWord: true }
      pieces.push(bytes)
      if (endsWord) pieces.push(space)
    }
    return strip(Buffer.concat(pieces).toString('utf8'))
  }
}

/** Appends ids up to `count` in all; whether there was room for all of them. */
function append(ids: number[], more: readonly number[], count: number): boolean {
  const room = count - ids.length
  for (let i = 0; i < more.length && i < room; i++) ids.push(more[i]!)
  return more.length <= room
}

/** Splits normalized text without white space into the words that are encoded one by one. */
function* words(text: string): Generator<{ text: string, start: number }> {
  const word = /<\|(?:start|end)oftext\|>|'(?:s|t|re|ve|m|ll|d)|\p{L}+|\p{N}|[^\p{L}\p{N}]+/gu
  for (const match of text.matchAll(word)) {
    const special = SPLIT_SPECIAL.exec(match[0])
    if (special === null) {
      yield { text: match[0], start: match.index }
    } else {
      let start = match.index
      for (const piece of special.slice(1)) {
        yield { text: piece, start }
        start += piece.length
      }
    }
  }
}

/** UTF-16 units of the characters that lie wholly in the first `count` bytes of UTF-8 text. */
function wholeCharacters(bytes: Buffer, count: number): number {
  let end = count
  while (end > 0 && end < bytes.length && (bytes[end]! & 0xc0) === 0x80) end--
  return bytes.toString('utf8', 0, end).length
}

/** Removes what Python's `strip` takes for white space (`trim` differs in U+0085, U+FEFF and the separators U+001C to U+001F). */
function strip(text: string): string {
  const space = /[\p{White_Space}\x1c-\x1f]/u
  let start = 0
  let end = text.length
  while (start < end && space.test(text.charAt(start))) start++
  while (end > start && space.test(text.charAt(end - 1))) end--
  return text.slice(start, end)
}

/** Without white space at both ends. Not `trim`, which also takes U+FEFF away: that is a token, and must be told when it is cut. */
function trimmed(text: string): string {
  const isSpace = (i: number): boolean => text[i] !== '\ufeff' && text.charAt(i).trim() === ''
  let from = 0, to = text.length
  while (from < to && isSpace(from)) from++
  while (to > from && isSpace(to - 1)) to--
  return text.slice(from, to)
}

import path from 'node:path'
import { AsdmError, shown } from '../base/errors'
import { fileExists, shownPath } from '../files/files'
import { isJsonObject, readJsonObject, type JsonObject } from '../files/json'
import { BYTE_OF_CHARACTER, END_OF_WORD, MAX_IDS } from './byte-pairs'
import { mergesOf, parseMerges, readMerges, vocabularyOfMerges, type Merges } from './merges'
import { normalizeText } from './normalize'

const MAX_WINDOW = 65536
/** Longest special token; every place of a prompt is compared with it. */
const MAX_SPECIAL_LENGTH = 256
const DEFAULT_WINDOW = 77

/** A token that is found in the prompt as it stands, before any word is split. */
interface SpecialToken {
  content: string
  id: number
  /** Looked for in the normalized text (so in any letter case) or in the raw text. */
  normalized: boolean
}

/** What the files of a tokenizer folder say, checked. */
export interface TokenizerFiles {
  vocabulary: Map<string, number>
  merges: Merges
  specialTokens: SpecialToken[]
  bos: number
  eos: number
  pad: number
  unknown: number
  windowLength: number
}

/**
 * Reads a CLIP tokenizer folder as published: `vocab.json`, `merges.txt`, and where they exist `tokenizer_config.json`,
 * `special_tokens_map.json` and `added_tokens.json`, which complete each other as in transformers: `added_tokens_decoder` of the
 * config, where present, decides alone; otherwise the map overrides the config. Without them CLIP's values hold: window 77,
 * `<|startoftext|>`, `<|endoftext|>` also for padding. A folder without `vocab.json` may have both it and the merges in
 * `tokenizer.json`, as newer versions save them, or `merges.txt` alone: see {@link vocabularyOfMerges}. Instead of `merges.txt` a
 * folder may have it compressed with brotli, `merges.txt.br`.
 * @param padToken overrides what the files say about padding
 * @throws AsdmError `FILE_NOT_FOUND`, `FILE_READ`, `BAD_JSON`, `BAD_CONFIG` or `UNSUPPORTED_CONFIG`, naming file and entry
 */
export async function readTokenizerFiles(folder: string, padToken?: string): Promise<TokenizerFiles> {
  const configFile = path.join(folder, 'tokenizer_config.json')
  const mapFile = path.join(folder, 'special_tokens_map.json')
  const addedFile = path.join(folder, 'added_tokens.json')

  const { vocabulary, merges, decoder: savedDecoder, decoderFile } = await readModel(folder)
  const config = await readOptionalJson(configFile)
  const map = { ...await readOptionalJson(mapFile), ...(padToken === undefined ? {} : { pad_token: padToken }) }
  const added = await readOptionalJson(addedFile)
  checkOptions(config, configFile)
  const pipelineFile = path.join(folder, 'tokenizer.json')
  if (genericClasses.includes(config.tokenizer_class) && await fileExists(pipelineFile)) await checkPipeline(pipelineFile)

  const decoder = config.added_tokens_decoder ?? savedDecoder
  const named = namedTokens(config, configFile, decoder === undefined ? map : {}, mapFile)
  const tokens = new AddedTokens(vocabulary)
  if (decoder !== undefined) {
    tokens.addDecoder(decoder, config.added_tokens_decoder === undefined ? decoderFile : configFile)
  } else {
    const names = new Set(named.map(({ content }) => content))
    for (const [content, id] of checkIds(added, addedFile, vocabulary))
      tokens.add({ content, id, normalized: !names.has(content), form: 'final' }, addedFile)
  }
  const ids = new Map(named.map(token => [token.name, tokens.addNamed(token)]))
  return {
    vocabulary,
    merges,
    bos: ids.get('bos_token')!,
    eos: ids.get('eos_token')!,
    unknown: ids.get('unk_token')!,
    pad: ids.get('pad_token')!,
    specialTokens: tokens.list(),
    windowLength: windowLength(config.model_max_length, configFile),
  }
}

interface ModelFiles extends Pick<TokenizerFiles, 'vocabulary' | 'merges'> {
  /** As `added_tokens_decoder`; from `tokenizer.json` only. */
  decoder: JsonObject | undefined
  decoderFile: string
}

/**
 * Vocabulary and merges, from `vocab.json` and `merges.txt` or, where the first is missing, from `tokenizer.json`, or from the merges
 * alone.
 */
async function readModel(folder: string): Promise<ModelFiles> {
  const vocabularyFile = path.join(folder, 'vocab.json')
  const file = path.join(folder, 'tokenizer.json')
  const hasVocabulary = await fileExists(vocabularyFile)
  if (hasVocabulary || !await fileExists(file)) {
    const mergesFile = await mergesOf(folder)
    const mergesAlone = !hasVocabulary && await fileExists(mergesFile)
    const listed = mergesAlone ? undefined : checkVocabulary(await readJsonObject(vocabularyFile), vocabularyFile)
    const lines = (await readMerges(mergesFile)).split(/\r?\n/)
    const vocabulary = listed ?? vocabularyOfMerges(lines, mergesFile)
    return { vocabulary, merges: parseMerges(lines, mergesFile, vocabulary), decoder: undefined, decoderFile: '' }
  }
  const { model, added_tokens: added = [] } = await readJsonObject(file)
  const bad = (entry: string, expected: string, received: unknown): AsdmError =>
    new AsdmError('BAD_CONFIG', `Expected ${entry} in ${shownPath(file)} to be ${expected} but received ${shown(received)}`)
  if (!isJsonObject(model)) throw bad('model', 'an object', model)
  if (model.type !== 'BPE' || model.end_of_word_suffix !== END_OF_WORD)
    throw new AsdmError('UNSUPPORTED_CONFIG',
      `Expected the model of ${shownPath(file)} to be byte-pair encoding with end_of_word_suffix "${END_OF_WORD}"`)
  if (!isJsonObject(model.vocab)) throw bad('model.vocab', 'an object', model.vocab)
  if (!Array.isArray(model.merges)) throw bad('model.merges', 'a list', model.merges)
  if (!Array.isArray(added)) throw bad('added_tokens', 'a list', added)
  const lines = model.merges.map((merge: unknown, i) => {
    const line = Array.isArray(merge) && merge.length === 2 ? merge.join(' ') : merge
    if (typeof line !== 'string' || line === '') throw bad(`model.merges[${i}]`, 'two tokens', merge)
    return line
  })
  const decoder = Object.fromEntries(added.map((token: unknown, i) => {
    if (!isJsonObject(token) || typeof token.id !== 'number') throw bad(`added_tokens[${i}]`, 'an object with a numeric id', token)
    return [String(token.id), token]
  }))
  const vocabulary = checkVocabulary(model.vocab, file)
  return { vocabulary, merges: parseMerges(lines, file, vocabulary), decoder, decoderFile: file }
}

function checkVocabulary(json: JsonObject, file: string): Map<string, number> {
  const vocabulary = checkIds(json, file, new Map())
  if (vocabulary.size === 0) throw new AsdmError('BAD_CONFIG', `Expected a vocabulary in ${shownPath(file)} but it is empty`)
  return vocabulary
}

/** A token as a file writes it. `form` tells entries apart as transformers does: equal forms of one token are one entry. */
interface TokenEntry {
  content: string
  normalized: boolean
  form: string
}

interface NamedToken extends TokenEntry {
  name: string
  file: string
}

/** The special tokens by role, in transformers' order, CLIP's where the files name none. What the map says comes before the config. */
function namedTokens(config: JsonObject, configFile: string, map: JsonObject, mapFile: string): NamedToken[] {
  const defaults: JsonObject = {
    bos_token: '<|startoftext|>', eos_token: '<|endoftext|>', unk_token: '<|endoftext|>', pad_token: '<|endoftext|>',
  }
  const named: NamedToken[] = []
  const lookUp = (name: string): { value: unknown, file: string } => {
    const inMap = map[name] !== undefined && map[name] !== null
    return { value: (inMap ? map[name] : config[name]) ?? defaults[name], file: inMap ? mapFile : configFile }
  }
  for (const name of ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token']) {
    const { value, file } = lookUp(name)
    if (value !== undefined && value !== null) named.push({ ...tokenEntry(value, name, file), name, file })
  }
  for (const name of ['additional_special_tokens', 'extra_special_tokens']) {
    const { value, file } = lookUp(name)
    if (value === undefined || value === null) continue
    if (!Array.isArray(value) && !isJsonObject(value))
      throw new AsdmError('BAD_CONFIG', `Expected ${name} in ${shownPath(file)} to be a list or an object but received ${shown(value)}`)
    // transformers 4 writes extra_special_tokens as an object of attributes, 5 as a list.
    for (const [key, entry] of Object.entries<unknown>(value)) {
      const place = Array.isArray(value) ? `${name}[${key}]` : `${name}.${key.slice(0, 60)}`
      named.push({ ...tokenEntry(entry, place, file), name: place, file })
    }
  }
  return named
}

/** Collects special tokens; of several entries for one token the one that transformers lets count counts. */
class AddedTokens {
  readonly #tokens = new Map<string, SpecialToken & { forms: Set<string> }>()
  readonly #usedIds: Set<number>

  constructor(private readonly vocabulary: ReadonlyMap<string, number>) {
    this.#usedIds = new Set(vocabulary.values())
  }

  /** Adds an entry; after one with form `final` others for its token change nothing. */
  add({ content, id, normalized, form }: TokenEntry & { id: number }, file: string): void {
    if (content.length > MAX_SPECIAL_LENGTH)
      throw new AsdmError('BAD_CONFIG',
        `Expected special tokens of ${shownPath(file)} to have at most ${MAX_SPECIAL_LENGTH} characters but received ${content.length}`)
    if (content === '' || /\p{White_Space}/u.test(content))
      throw new AsdmError('UNSUPPORTED_CONFIG',
        `Expected special tokens of ${shownPath(file)} without white space but received ${shown(content)}`)
    const known = this.#tokens.get(content)
    if (known === undefined) {
      this.#tokens.set(content, { content, id, normalized, forms: new Set([form]) })
    } else if (!known.forms.has('final') && !known.forms.has(form)) {
      // A repetition in the same form is dropped there; one in another form replaces the first.
      known.forms.add(form)
      known.normalized = normalized
    }
  }

  /** `added_tokens_decoder`: id to token; what it says about a token is final. */
  addDecoder(value: unknown, file: string): void {
    if (!isJsonObject(value))
      throw new AsdmError('BAD_CONFIG', `Expected added_tokens_decoder in ${shownPath(file)} to be an object but received ${shown(value)}`)
    for (const [key, entry] of Object.entries(value)) {
      const name = `added_tokens_decoder[${shown(key)}]`
      const { content, normalized } = tokenEntry(entry, name, file)
      const id = /^\d{1,9}$/.test(key) ? Number(key) : NaN
      if (!(id < MAX_IDS))
        throw new AsdmError('BAD_CONFIG', `Expected ${name} in ${shownPath(file)} to be called by a token id below ${MAX_IDS}`)
      const known = this.vocabulary.get(content) ?? this.#tokens.get(content)?.id
      if (known !== undefined ? id !== known : this.#usedIds.has(id))
        throw new AsdmError('BAD_CONFIG', `Expected ${name} in ${shownPath(file)} to agree with the vocabulary but it is ${shown(content)}`)
      this.#usedIds.add(id)
      this.add({ content, id, normalized, form: 'final' }, file)
    }
  }

  /** Adds a token by role and gives its id. */
  addNamed({ name, file, ...entry }: NamedToken): number {
    const id = this.vocabulary.get(entry.content) ?? this.#tokens.get(entry.content)?.id
    if (id === undefined)
      throw new AsdmError('BAD_CONFIG',
        `Expected the ${name} of ${shownPath(file)} to be in the vocabulary but ${shown(entry.content)} is not`)
    this.add({ ...entry, id }, file)
    return id
  }

  list(): SpecialToken[] {
    return [...this.#tokens.values()].map(({ content, id, normalized }) =>
      ({ content: normalized ? normalizeText(content) : content, id, normalized }))
  }
}

/** A token written as a string (looked for in the raw text) or as an object with `content` and flags. */
function tokenEntry(value: unknown, name: string, file: string): TokenEntry {
  if (typeof value === 'string') return { content: value, normalized: false, form: 'string' }
  if (!isJsonObject(value) || typeof value.content !== 'string')
    throw new AsdmError('BAD_CONFIG',
      `Expected ${name} in ${shownPath(file)} to be a string or an object with "content" but received ${shown(value)}`)
  const flag = (key: string): boolean => {
    const set = value[key] ?? key === 'normalized'
    if (typeof set !== 'boolean')
      throw new AsdmError('BAD_CONFIG', `Expected ${name}.${key} in ${shownPath(file)} to be true or false but received ${shown(set)}`)
    return set
  }
  const [normalized, singleWord, lstrip, rstrip] = [flag('normalized'), flag('single_word'), flag('lstrip'), flag('rstrip')]
  // lstrip and rstrip only take white space with them, which makes no tokens in CLIP; single_word would change what is found.
  if (singleWord) throw new AsdmError('UNSUPPORTED_CONFIG', `Expected ${name}.single_word in ${shownPath(file)} to be false`)
  return { content: value.content, normalized, form: [normalized, singleWord, lstrip, rstrip].join() }
}

/** Classes of transformers that do whatever `tokenizer.json` says. */
const genericClasses: readonly unknown[] = ['TokenizersBackend', 'PreTrainedTokenizerFast']

/** How transformers' CLIP tokenizer writes down, for the tokenizers library, what comes before and after byte-pair encoding. */
const clipSplit = "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"
const clipPipeline = {
  normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' }, { type: 'Lowercase' }] },
  pre_tokenizer: {
    type: 'Sequence',
    pretokenizers: [
      { type: 'Split', pattern: { Regex: clipSplit }, behavior: 'Removed', invert: true }, { type: 'ByteLevel', add_prefix_space: false },
    ],
  },
  post_processor: { type: 'RobertaProcessing' },
}

/**
 * Does a `tokenizer.json` describe a tokenizer of CLIP's kind? What it has beyond CLIP's settings (offsets, ids) changes no tokens.
 * @throws AsdmError `UNSUPPORTED_CONFIG`, and what reading gives
 */
async function checkPipeline(file: string): Promise<void> {
  const json = await readJsonObject(file)
  for (const [step, clip] of Object.entries(clipPipeline))
    if (!includes(json[step], clip))
      throw new AsdmError('UNSUPPORTED_CONFIG', `Expected the ${step} of ${shownPath(file)} to be CLIP's but received another`)
}

/** Has `value` all that `wanted` has, lists whole? */
function includes(value: unknown, wanted: unknown): boolean {
  if (wanted === null || typeof wanted !== 'object') return value === wanted
  if (value === null || typeof value !== 'object' || Array.isArray(value) !== Array.isArray(wanted)) return false
  if (Array.isArray(value) && value.length !== (wanted as unknown[]).length) return false
  return Object.entries(wanted).every(([key, item]) => includes((value as JsonObject)[key], item))
}

/** Options that change the tokens and have one supported value. */
function checkOptions(config: JsonObject, file: string): void {
  const supported: Record<string, unknown[]> = {
    tokenizer_class: ['CLIPTokenizer', 'CLIPTokenizerFast', ...genericClasses],
    do_lower_case: [true],
    add_prefix_space: [false],
    padding_side: ['right'],
    truncation_side: ['right'],
    add_bos_token: [true],
    add_eos_token: [true],
    split_special_tokens: [false],
  }
  for (const [name, values] of Object.entries(supported)) {
    const value = config[name]
    if (value !== undefined && value !== null && !values.includes(value))
      throw new AsdmError('UNSUPPORTED_CONFIG',
        `Expected ${name} in ${shownPath(file)} to be ${values.map(shown).join(' or ')} but received ${shown(value)}`)
  }
}

/** `model_max_length`; transformers writes 1e30 where none was given. */
function windowLength(value: unknown, file: string): number {
  if (value === undefined || value === null || value === 1e30) return DEFAULT_WINDOW
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 2 || value > MAX_WINDOW)
    throw new AsdmError('BAD_CONFIG',
      `Expected model_max_length in ${shownPath(file)} to be an integer from 2 to ${MAX_WINDOW} but received ${shown(value)}`)
  return value
}

/** A JSON object of token to id: integers, in range, each once, none that `taken` gives to another token. */
function checkIds(json: JsonObject, file: string, taken: ReadonlyMap<string, number>): Map<string, number> {
  const ids = new Map<string, number>()
  const owners = new Map<number, string>([...taken].map(([token, id]) => [id, token]))
  for (const [token, id] of Object.entries(json)) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= MAX_IDS)
      throw new AsdmError('BAD_CONFIG',
        `Expected the id of ${shown(token)} in ${shownPath(file)} to be an integer from 0 to ${MAX_IDS - 1} but received ${shown(id)}`)
    const owner = owners.get(id)
    if ((owner !== undefined && owner !== token) || (taken.get(token) ?? id) !== id)
      throw new AsdmError('BAD_CONFIG',
        `Expected one token per id but ${shownPath(file)} gives ${id} to ${shown(token)} although ${shown(owner ?? token)} is there`)
    owners.set(id, token)
    ids.set(token, id)
  }
  return ids
}

/** Bytes that a token stands for; characters outside the byte table (in special tokens) stand for their UTF-8 bytes. */
export function tokenBytes(token: string): { bytes: Buffer, endsWord: boolean } {
  const endsWord = token.endsWith(END_OF_WORD)
  const text = endsWord ? token.slice(0, -END_OF_WORD.length) : token
  const bytes = Array.from(text, character => BYTE_OF_CHARACTER.get(character))
  return { bytes: bytes.includes(undefined) ? Buffer.from(text) : Buffer.from(bytes as number[]), endsWord }
}

/** A JSON file's object; an empty one where there is no file. */
async function readOptionalJson(file: string): Promise<JsonObject> {
  try {
    return await readJsonObject(file)
  } catch (error) {
    if (error instanceof AsdmError && error.code === 'FILE_NOT_FOUND') return {}
    throw error
  }
}

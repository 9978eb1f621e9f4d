import { AsdmError } from '../base/errors'
import { shownPath } from '../files/files'
import type { Checkpoint } from '../model/checkpoint'
import { Tokenizer } from './tokenizer'

/** Tokens of CLIP's vocabulary. */
const clipVocabulary = 49408

/**
 * The tokenizer that belongs to a checkpoint.
 * @throws AsdmError as `Tokenizer.load`, `FILE_NOT_FOUND` where there is none and the text encoder is not CLIP's, and `BAD_CONFIG` when it
 * does not fit the text encoder
 */
export async function loadTokenizer({ tokenizerFolder, padToken, textEncoder: { config, path } }: Checkpoint): Promise<Tokenizer> {
  const tokenizer = tokenizerFolder === undefined ? await Tokenizer.default({ padToken }) : await Tokenizer.load(tokenizerFolder)
  if (tokenizerFolder === undefined && (config.vocabSize !== clipVocabulary || config.maxPositionEmbeddings !== tokenizer.windowLength))
    throw new AsdmError('FILE_NOT_FOUND',
      `Expected a tokenizer beside the text encoder at ${shownPath(path)}, which is not CLIP's (${config.vocabSize} tokens, a window of `
      + `${config.maxPositionEmbeddings}), but there is none; give { tokenizer: folder }`)
  const where = tokenizerFolder === undefined ? 'the packaged CLIP tokenizer' : shownPath(tokenizerFolder)
  if (tokenizer.vocabSize > config.vocabSize)
    throw new AsdmError('BAD_CONFIG',
      `Expected the tokenizer to fit the text encoder at ${shownPath(path)} but ${where} has ${tokenizer.vocabSize} tokens where the text `
      + `encoder knows ${config.vocabSize}`)
  if (tokenizer.windowLength > config.maxPositionEmbeddings)
    throw new AsdmError('BAD_CONFIG',
      `Expected the tokenizer to fit the text encoder at ${shownPath(path)} but ${where} has a window of ${tokenizer.windowLength} tokens `
      + `where the text encoder takes ${config.maxPositionEmbeddings}`)
  return tokenizer
}

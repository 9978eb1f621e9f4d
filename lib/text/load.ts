import { AsdmError } from '../base/errors'
import { shownPath } from '../files/files'
import type { Checkpoint } from '../model/checkpoint'
import { Tokenizer } from './tokenizer'

/**
 * The tokenizer that belongs to a checkpoint.
 * @throws AsdmError as `Tokenizer.load`, and `BAD_CONFIG` when it does not fit the text encoder
 */
export async function loadTokenizer({ tokenizerFolder, padToken, textEncoder: { config, path } }: Checkpoint): Promise<Tokenizer> {
  const tokenizer = tokenizerFolder === undefined ? await Tokenizer.default({ padToken }) : await Tokenizer.load(tokenizerFolder)
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

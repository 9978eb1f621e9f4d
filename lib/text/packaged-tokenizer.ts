import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { AsdmError } from '../base/errors'
import { readJsonObject } from '../files/json'
import { makeFolders } from '../files/folders'
import { packageRoot } from '../files/package-root'
import { readMergesOf } from './merges'
import { readTokenizerFiles } from './tokenizer-files'

/**
 * The folder of CLIP's tokenizer, which comes with the package: its merges, compressed, from which the vocabulary follows, and its configs.
 * @throws AsdmError `FILE_NOT_FOUND`
 */
export function packagedTokenizer(): string {
  // Where it lies as published, in full for tools that follow such paths.
  const folder = path.join(__dirname, '..', '..', 'assets', 'clip-tokenizer')
  if (existsSync(folder)) return folder
  const root = packageRoot()
  if (root === undefined) throw new AsdmError('FILE_NOT_FOUND', `Expected asdm's package.json above ${__dirname} but found none`)
  return path.join(root, 'assets', 'clip-tokenizer')
}

/**
 * Writes CLIP's tokenizer as a model's folder has it, `vocab.json` and plain `merges.txt` included, since other programs ask for it.
 * @param folder is made if it is not there
 * @param padToken fills windows instead of `<|endoftext|>`
 * @throws AsdmError when the package's assets are gone or broken, and Node's errors for what the system refuses to write
 */
export async function writePackagedTokenizer(folder: string, padToken?: string): Promise<void> {
  const from = packagedTokenizer()
  const { vocabulary } = await readTokenizerFiles(from)
  await makeFolders(folder)
  await writeFile(path.join(folder, 'vocab.json'), JSON.stringify(Object.fromEntries(vocabulary)))
  await writeFile(path.join(folder, 'merges.txt'), await readMergesOf(from))
  for (const name of ['tokenizer_config.json', 'special_tokens_map.json']) {
    const json = await readJsonObject(path.join(from, name))
    if (padToken !== undefined) json.pad_token = padToken
    await writeFile(path.join(folder, name), `${JSON.stringify(json, undefined, 2)}\n`)
  }
}

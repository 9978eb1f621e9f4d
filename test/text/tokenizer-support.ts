import fs from 'node:fs'
import path from 'node:path'
import type { ExecutionContext } from 'ava'
import { fixture } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

/** The folder of a small model's tokenizer, and what its files hold. */
export const sd15 = fixture('sd15-tiny', 'tokenizer')
export const vocab: Record<string, number> = JSON.parse(fs.readFileSync(path.join(sd15, 'vocab.json'), 'utf8'))
export const merges = fs.readFileSync(path.join(sd15, 'merges.txt'), 'utf8')

/** A folder with the small vocabulary of sd15-tiny and other files; `undefined` removes a file, objects become JSON. */
export function folderWith(t: ExecutionContext, files: Record<string, unknown> = {}): string {
  const folder = temporaryFolder(t)
  for (const [name, content] of Object.entries({ 'vocab.json': vocab, 'merges.txt': merges, ...files })) {
    if (content !== undefined)
      fs.writeFileSync(path.join(folder, name), typeof content === 'string' || Buffer.isBuffer(content) ? content : JSON.stringify(content))
  }
  return folder
}

/** CLIP's special tokens, and how files write such a token. */
export const start = '<|startoftext|>'
export const end = '<|endoftext|>'
export const token = (content: string, normalized = true, special = true) =>
  ({ content, lstrip: false, normalized, rstrip: false, single_word: false, special })

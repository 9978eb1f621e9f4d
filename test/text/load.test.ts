import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { openCheckpoint } from '../../lib/model/checkpoint'
import { loadTokenizer } from '../../lib/text/load'
import { copyCheckpoint } from '../model/checkpoints'
import { temporaryFolder } from '../support/temporary'

test('beside a text encoder that is not CLIP\'s, a missing tokenizer is an error', async t => {
  const folder = copyCheckpoint('sd15-tiny', temporaryFolder(t))
  const whole = await openCheckpoint(folder)
  t.is((await loadTokenizer(whole)).vocabSize, 2014)
  for (const name of fs.readdirSync(path.join(folder, 'tokenizer')))
    if (name !== 'merges.txt') fs.rmSync(path.join(folder, 'tokenizer', name))
  t.is((await openCheckpoint(folder)).tokenizerFolder, path.join(folder, 'tokenizer'))
  fs.rmSync(path.join(folder, 'tokenizer'), { recursive: true })
  const bare = await openCheckpoint(folder)
  for (const [vocabSize, maxPositionEmbeddings] of [[2253, 77], [49410, 77], [49408, 248]]) {
    const config = { ...bare.textEncoder.config, vocabSize, maxPositionEmbeddings }
    const error = await t.throwsAsync(loadTokenizer({ ...bare, textEncoder: { ...bare.textEncoder, config } }), { instanceOf: AsdmError })
    t.is(error?.code, 'FILE_NOT_FOUND')
    t.true(error!.message.includes('{ tokenizer: folder }'))
  }
  const clip = { ...bare.textEncoder.config, vocabSize: 49408, maxPositionEmbeddings: 77 }
  t.is((await loadTokenizer({ ...bare, textEncoder: { ...bare.textEncoder, config: clip } })).vocabSize, 49408)
})

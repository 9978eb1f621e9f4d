import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { loadingTurn, readingTurns, takeTurns, timeLoading, weightFiles } from '../../lib/measure/loading'
import type { StableDiffusion } from '../../lib/index'
import { openCheckpoint } from '../../lib/model/checkpoint'
import { fixture } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

test('a turn that counts comes right after one of its kind that does not; the order turns round', async t => {
  const log: string[] = []
  const turn = (name: string) => () => log.push(name)
  const times = await takeTurns({ a: turn('a'), b: async () => { await null; return turn('b')() } }, 3)
  t.is(log.join(''), 'aabb' + 'bbaa' + 'aabb')
  t.deepEqual(times, { a: [2, 8, 10], b: [4, 6, 12] })
})

test('reading takes whole files either way, and leaves no memory behind', t => {
  const folder = temporaryFolder(t), mebibytes = 64
  const files = ['a', 'b'].map(name => path.join(folder, name))
  // More than the small buffer, and no multiple of it.
  for (const file of files) fs.writeFileSync(file, Buffer.alloc(mebibytes * 2 ** 20 + 17, 1))
  const { fresh, small } = readingTurns(files)
  const held = (): number => process.memoryUsage().arrayBuffers
  const before = held()
  for (let i = 0; i < 3; i++) t.true(Number(fresh()) > 0)
  t.true(held() - before < mebibytes * 2 ** 20, 'the buffers are gone')
  t.true(Number(small()) > 0)
  t.true(held() - before < mebibytes * 2 ** 20)
  fs.truncateSync(files[0], 0)
  t.true(Number(fresh()) >= 0)
  fs.rmSync(files[1])
  t.throws(fresh, { code: 'ENOENT' })
})

test('loading: the model can be used and is disposed of, and use is not timed', async t => {
  const model = fixture('sd15-tiny')
  const files = weightFiles(await openCheckpoint(model))
  t.is(files.length, 3)
  t.is(new Set(files).size, 3)
  let used: StableDiffusion | undefined
  const ms = await loadingTurn(model, { threads: 1 }, async sd => {
    used = sd
    await new Promise(resolve => setTimeout(resolve, 2000))
  })()
  t.true(ms > 0 && ms < 2000)
  await t.throwsAsync(used!.generate({ prompt: 'a', steps: 1 }), { code: 'DISPOSED' })
  await t.throwsAsync(async () => loadingTurn(model, { threads: 1 }, async () => { throw new Error('no') })(), { message: 'no' })
  const times = await timeLoading(model, { threads: 1, dtype: 'fp32' }, 2)
  t.deepEqual(Object.keys(times).sort(), ['fresh', 'load', 'small'])
  for (const list of Object.values(times)) t.true(list.length === 2 && list.every(value => value > 0))
})

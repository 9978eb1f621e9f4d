import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { openCheckpoint } from '../../lib/model/checkpoint'
import { fixture } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const main = path.join(__dirname, '..', '..', 'lib', 'cli', 'main.js')

function asdm(...args: string[]): Promise<{ code: number, stdout: string, stderr: string }> {
  return new Promise(resolve =>
    execFile(
      process.execPath, [main, ...args],
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    ))
}

test('asdm convert says where the model is, what it left out, and what to mind', async t => {
  const folder = fs.realpathSync(temporaryFolder(t))
  const single = path.join(folder, 'x.safetensors')
  const there = await asdm('convert', fixture('sd15-tiny'), single, '--dtype', 'bf16')
  t.is(there.code, 0, there.stderr)
  t.is(there.stdout, `${single}\n`)
  t.regex(
    there.stderr,
    /^Warning: A single file has no place for configs.*\n\d+ tensors, \d.* MiB\nLeft out: 1 tensor: position ids, which are counted anew\n$/,
  )
  const again = await asdm('convert', fixture('sd15-tiny'), single)
  t.is(again.code, 1)
  t.regex(again.stderr, /^asdm: .*overwrite.*\(INVALID_ARGUMENT\)\n$/)
  const back = await asdm('convert', single, path.join(folder, 'back'), '--config', fixture('sd15-tiny'), '--json', '--dtype', 'fp32')
  t.is(back.code, 0, back.stderr)
  t.like(JSON.parse(back.stdout), { kind: 'folder', path: path.join(folder, 'back'), warnings: [], dropped: [] })
  t.is((await openCheckpoint(path.join(folder, 'back'))).vae.weights[0].dtype, 'F32')
  t.is(
    (await asdm('convert', single, single, '-q', '--overwrite', '--config', fixture('sd15-tiny'))).stderr.split('\n').filter(line =>
      line !== '' && !line.startsWith('Warning')).join(),
    '',
  )
  for (const args of [[], ['a'], ['a', 'b', 'c'], ['a', 'b', '--dtype', 'int8'], ['a', 'b', '--to', 'x']])
    t.is((await asdm('convert', ...args)).code, 2, args.join(' '))
  t.deepEqual(fs.readdirSync(folder).sort(), ['back', 'x.safetensors'])
})

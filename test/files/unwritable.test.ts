import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { assemble, convertModel, exportOnnx, parsePlan, RgbaImage, savePlan } from '../../lib/index'
import { makeFolders } from '../../lib/files/folders'
import { fixture } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

test('folders are made with those above; what is there stays', async t => {
  const folder = temporaryFolder(t)
  const deep = path.join(folder, 'a', 'b', 'c')
  await Promise.all([makeFolders(deep), makeFolders(deep), makeFolders(path.join(deep, '..', 'd'))])
  await makeFolders(deep)
  await makeFolders(path.parse(deep).root)
  t.true(fs.statSync(deep).isDirectory() && fs.statSync(path.join(folder, 'a', 'b', 'd')).isDirectory())
  fs.writeFileSync(path.join(folder, 'file'), '')
  await t.throwsAsync(makeFolders(path.join(folder, 'file')), { code: 'EEXIST' })
  await t.throwsAsync(makeFolders(path.join(folder, 'file', 'x', 'y')), { code: 'ENOTDIR' })
  fs.symlinkSync(path.join(folder, 'a'), path.join(folder, 'link'))
  await makeFolders(path.join(folder, 'link', 'e'))
  t.true(fs.existsSync(path.join(folder, 'a', 'e')))
})

const sd15 = fixture('sd15-tiny')
const recipe = { version: 1, name: 'same', checkpoints: { sd: null }, target: { from: 'sd' }, rest: 'sd', units: {} } as const
const writers: Record<string, (at: string) => Promise<unknown>> = {
  'an image': at => new RgbaImage(new Uint8ClampedArray(4), 1, 1).save(`${at}.png`, { folders: true }),
  'a plan': at => savePlan(parsePlan({ version: 1, rules: [] }), `${at}.json`),
  'a converted folder': at => convertModel(sd15, at),
  'a converted file': at => convertModel(sd15, `${at}.safetensors`),
  'an assembled model': at => assemble(recipe, { out: at, checkpoints: { sd: sd15 } }),
  'a graph': at => exportOnnx(sd15, `${at}.onnx`, { part: 'vae_decoder' }),
}
for (const [name, write] of Object.entries(writers))
  test(`${name} that cannot be written is an error of writing, and soon`, async t => {
    const folder = temporaryFolder(t)
    fs.writeFileSync(path.join(folder, 'file'), '')
    for (const at of [path.join(folder, 'file', 'x'), path.join(folder, 'n'.repeat(300))])
      await t.throwsAsync(write(at), { name: 'AsdmError', code: 'FILE_WRITE' }, at)
    // There `mkdir` says that the folder above is missing, over and over.
    for (const at of process.platform === 'linux' ? ['/proc/nope/x', '/sys/nope/x'] : []) {
      const error = await t.throwsAsync<Error & { code: string }>(write(at), { name: 'AsdmError' }, at)
      t.true(['FILE_WRITE', 'FILE_NOT_FOUND'].includes(error!.code), `${at}: ${error!.code} ${error!.message}`)
    }
    t.deepEqual(fs.readdirSync(folder), ['file'])
  })

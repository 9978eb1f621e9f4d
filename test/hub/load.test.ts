import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { convertModel } from '../../lib/convert/convert'
import { locateModel } from '../../lib/hub/locate-model'
import type { PullProgress } from '../../lib/hub/pull'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { fixture, maxAbsDiff } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'
import { checkpointFiles, FakeHub } from './fake-hub'

// The variables of the environment are this worker's own; the tests of this file share them, and a working directory with nothing in it.
const request = { prompt: 'a photo of a cat', steps: 1, seed: 3, width: 32, height: 32 }

async function picture(model: StableDiffusion): Promise<Uint8ClampedArray> {
  const [image] = await model.generate(request)
  await model.dispose()
  return image.rgba
}

test.serial('a name on the hub loads: fetched once, then from the cache, without the hub', async t => {
  const home = temporaryFolder(t)
  const files = checkpointFiles()
  for (const name of Object.keys(files))
    if (name.endsWith('.safetensors')) { files[name.replace('.safetensors', '.fp16.safetensors')] = files[name]; delete files[name] }
  const hub = await FakeHub.start(t, files)
  Object.assign(process.env, { HF_HOME: home, HF_ENDPOINT: hub.endpoint, HF_HUB_OFFLINE: '0' })
  const expected = await picture(await StableDiffusion.load(fixture('sd21-tiny'), { onWarning: () => {} }))
  const seen: PullProgress[] = []
  const warnings: string[] = []
  const sd = await StableDiffusion.load('hf:acme/tiny', {
    onDownload: progress => seen.push(progress), onWarning: ({ message }) => warnings.push(message),
  })
  t.is(maxAbsDiff(await picture(sd), expected), 0)
  t.is(seen[0].phase, 'list')
  t.true(seen.some(({ phase, bytesDone, bytesTotal }) => phase === 'download' && bytesDone === bytesTotal))
  // It has the variant that was fetched; nothing to warn of.
  t.deepEqual(warnings, [])
  hub.close()
  seen.length = 0
  t.is(
    maxAbsDiff(
      await picture(await StableDiffusion.load('acme/tiny', { onDownload: progress => seen.push(progress), revision: 'main' })), expected,
    ),
    0,
  )
  t.deepEqual(seen, [])
  const converted = await convertModel('acme/tiny', path.join(home, 'copy'))
  t.is(maxAbsDiff(await picture(await StableDiffusion.load(converted.path)), expected), 0)
  t.is(maxAbsDiff(await picture(await StableDiffusion.load('acme/tiny', { download: true })), expected), 0)
  process.env.HF_HUB_OFFLINE = '1'
  t.is(maxAbsDiff(await picture(await StableDiffusion.load('acme/tiny')), expected), 0)
  for (const load of [() => StableDiffusion.load('hf:acme/other'), () => StableDiffusion.load('acme/other', { download: true })])
    t.is((await t.throwsAsync(load(), { instanceOf: AsdmError }))?.code, 'OFFLINE')
  fs.rmSync(path.join(home, 'hub/models--acme--tiny/blobs'), { recursive: true })
  const error = await t.throwsAsync(StableDiffusion.load('acme/tiny'), { instanceOf: AsdmError })
  t.is(error?.code, 'FILE_NOT_FOUND')
})

test.serial('a name goes to the hub only where that is said', async t => {
  const hub = await FakeHub.start(t, checkpointFiles())
  Object.assign(process.env, { HF_HOME: temporaryFolder(t), HF_ENDPOINT: hub.endpoint, HF_HUB_OFFLINE: '0' })
  const code = async (name: string): Promise<string | undefined> =>
    (await t.throwsAsync(StableDiffusion.load(name), { instanceOf: AsdmError }))?.code
  for (const name of [
    './acme/tiny', '/acme/tiny', 'acme/tiny/unet', 'acme', 'acme/tiny.safetensors', 'acme/tiny.ckpt', 'acme\\tiny', '../acme/tiny',
  ]) t.is(await code(name), 'FILE_NOT_FOUND', name)
  t.deepEqual(hub.asked, [])
  // The tests run in the repository's folder, where this is one.
  const here = path.relative(process.cwd(), fixture()).split(path.sep).join('/')
  t.is(here, 'build/fixtures')
  t.is(await code(here), 'FILE_NOT_FOUND')
  t.is(
    (await t.throwsAsync(StableDiffusion.load(fixture('sd21-tiny'), { revision: 'main' }), { instanceOf: AsdmError }))?.code,
    'INVALID_ARGUMENT',
  )
  t.is((await t.throwsAsync(StableDiffusion.load('acme/tiny', { revision: '../x' }), { instanceOf: AsdmError }))?.code, 'INVALID_ARGUMENT')
  t.deepEqual(hub.asked, [])
  t.deepEqual(await locateModel('lib/index.ts', {}), { path: 'lib/index.ts', variant: undefined })
  // A model of this name may be anyone's.
  for (const name of ['models/emoji-2', 'acme/tiny']) {
    const error = await t.throwsAsync(StableDiffusion.load(name), { instanceOf: AsdmError })
    t.is(error?.code, 'FILE_NOT_FOUND')
    for (const way of [`at ${name} `, "not in the hub's cache", `hf:${name}`, '{ download: true }', `asdm pull ${name}`])
      t.true(error!.message.includes(way), error!.message)
  }
  for (const run of [() => convertModel('acme/tiny', path.join(process.env.HF_HOME!, 'copy')), () => locateModel('acme/tiny')])
    t.is((await t.throwsAsync<AsdmError>(run()))?.code, 'FILE_NOT_FOUND')
  for (const name of ['hf:', 'hf:acme', 'hf:../x', 'hf:acme/../x', 'hf:/acme/x']) t.is(await code(name), 'INVALID_ARGUMENT')
  t.deepEqual(hub.asked, [])
  t.is(await code('hf:acme/none'), 'HUB_NOT_FOUND')
  t.true(hub.asked.length > 0)
  t.deepEqual(fs.readdirSync(process.env.HF_HOME!), [])
})

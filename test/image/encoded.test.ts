import fs from 'node:fs'
import Module from 'node:module'
import os from 'node:os'
import path from 'node:path'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { GeneratedImage, type PlainImage } from '../../lib/image/generated-image'
import { Preview } from '../../lib/image/preview'
import type { GenerationSettings } from '../../lib/image/generation-settings'
import { sharp } from '../support/sharp'

const settings: GenerationSettings = {
  prompt: 'a cat', negativePrompt: '', guidanceScale: 7.5, steps: 20, sampler: 'ddim', eta: 0, seed: 1,
  width: 24, height: 16, count: 1, index: 0, clipSkip: 0, promptWeighting: false,
}
const rgba = new Uint8ClampedArray(24 * 16 * 4).map((_, i) => (i % 4 === 3 ? 255 : (i % 4) * 60 + (i >> 5)))
const image = new GeneratedImage(rgba, 24, 16, settings)
const meanDifference = (a: Uint8Array): number => a.reduce((sum, value, i) => sum + Math.abs(value - rgba[i]), 0) / a.length

const code = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise
    return 'fine'
  } catch (error) {
    return error instanceof AsdmError ? error.code : String(error)
  }
}

test('an image becomes PNG, JPEG, WebP and AVIF, as bytes and as a data: URL', async t => {
  for (const [format, library] of [['png', 'png'], ['jpeg', 'jpeg'], ['jpg', 'jpeg'], ['webp', 'webp'], ['avif', 'heif']] as const) {
    const bytes = await image.toBuffer(format as 'jpeg')
    const { format: kind, width, height } = await sharp(bytes).metadata()
    t.deepEqual([kind, width, height], [library, 24, 16])
    t.true(meanDifference(await sharp(bytes).ensureAlpha().raw().toBuffer()) < 6, format)
    const url = await image.toDataURL(format as 'jpeg')
    t.is(url.slice(0, url.indexOf(',')), `data:image/${format === 'jpg' ? 'jpeg' : format};base64`)
    t.deepEqual(Buffer.from(url.slice(url.indexOf(',') + 1), 'base64').length, (await image.toBuffer(format as 'jpeg')).length)
  }
  t.deepEqual(await image.toBuffer(), await image.png())
  t.true((await image.toBuffer('jpeg', { quality: 20 })).length < (await image.toBuffer('jpeg', { quality: 95 })).length)
  for (const wrong of [
    ['gif'], [5], ['png', { quality: 50 }], ['jpeg', { quality: 0 }], ['jpeg', { quality: 101 }], ['jpeg', { speed: 1 }],
  ] as const)
    t.is(await code(image.toBuffer(...wrong as unknown as ['jpeg', object])), 'INVALID_ARGUMENT')
  await t.throwsAsync(image.toBuffer('avif', { signal: AbortSignal.abort() }), { any: true, name: 'AbortError' })
})

test('previews have the same methods', async t => {
  const preview = new Preview(rgba, 24, 16)
  t.is((await sharp(await preview.toBuffer('webp')).metadata()).format, 'webp')
  t.regex(await preview.toDataURL(), /^data:image\/png;base64,iVBORw0KGgo/)
})

test('a file has the format of its extension, and never another', async t => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-save-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true }))
  for (const [name, format] of [
    ['a.png', 'png'], ['a.PNG', 'png'], ['a', 'png'], ['a.jpg', 'jpeg'], ['b.JPEG', 'jpeg'], ['a.webp', 'webp'], ['a.avif', 'heif'],
  ])
    t.is((await sharp(fs.readFileSync(await image.save(path.join(folder, name)))).metadata()).format, format)
  t.is((await sharp(fs.readFileSync(await image.save(path.join(folder, 'a.part'), { format: 'jpeg' }))).metadata()).format, 'jpeg')
  const before = fs.readdirSync(folder).length
  for (const [name, options] of [
    ['a.gif', {}], ['a.bmp', {}], ['a.jpg', { format: 'png' }], ['a.png', { format: 'webp' }], ['a.png', { quality: 5 }],
  ] as const)
    t.is(await code(image.save(path.join(folder, name), options as object)), 'INVALID_ARGUMENT', name)
  t.is(fs.readdirSync(folder).length, before)
})

test.serial('without sharp, the error says what to run', async t => {
  const loader = Module as unknown as { _resolveFilename(request: string, ...rest: unknown[]): string }
  const resolve = loader._resolveFilename
  loader._resolveFilename = (request, ...rest) => resolve.call(loader, request === 'sharp' ? 'sharp-that-is-not-there' : request, ...rest)
  try {
    const error = await t.throwsAsync(image.toBuffer('jpeg'), { instanceOf: AsdmError })
    t.is(error.code, 'PACKAGE_MISSING')
    t.regex(error.message, /run: npm install sharp/)
    t.is(await code(image.toBuffer('png')), 'fine')
  } finally {
    loader._resolveFilename = resolve
  }
})

test('images survive structured clones and JSON, whatever their seed', async t => {
  for (const seed of [1, 2 ** 53, 5n, 2n ** 64n - 1n]) {
    const one = new GeneratedImage(rgba, 24, 16, { ...settings, seed })
    for (const plain of [structuredClone(one) as PlainImage, JSON.parse(JSON.stringify(one)) as PlainImage, one]) {
      const back = GeneratedImage.from(plain)
      t.true(back instanceof GeneratedImage)
      t.deepEqual(back.rgba, rgba)
      t.is(BigInt(back.seed), BigInt(seed))
      t.deepEqual({ ...back.settings, seed: 0 }, { ...settings, seed: 0 })
      t.deepEqual(await back.png(), await one.png())
    }
    t.is(JSON.parse(JSON.stringify(one.settings)).prompt, 'a cat')
    t.deepEqual(JSON.parse(JSON.stringify({ images: [one] })).images[0].width, 24)
  }
  const plain = structuredClone(image) as PlainImage
  for (const wrong of [
    undefined, null, {}, 5, { ...plain, rgba: 'x' }, { ...plain, width: 25 }, { ...plain, width: NaN }, { ...plain, settings: undefined },
    { ...plain, rgba: [1] },
  ])
    t.throws(() => GeneratedImage.from(wrong as PlainImage), { instanceOf: AsdmError, code: 'INVALID_ARGUMENT' })
})

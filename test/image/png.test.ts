import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { GeneratedImage } from '../../lib/image/generated-image'
import { withAlpha } from '../../lib/image/pixels'
import { decodePng } from '../../lib/image/png/decode'
import { encodePng } from '../../lib/image/png/encode'
import { readTexts } from '../../lib/image/png/text'
import type { GenerationSettings } from '../../lib/image/generation-settings'
import { readSettings } from '../../lib/image/settings'
import { crc32ByTable } from '../../lib/image/png/crc'
import { TorchGenerator } from '../../lib/random/torch-generator'
import { sharp } from '../support/sharp'

const settings: GenerationSettings = {
  prompt: 'a cat', negativePrompt: '', guidanceScale: 7.5, steps: 20, sampler: 'ddim', eta: 0, seed: 1,
  width: 8, height: 8, count: 1, index: 0, clipSkip: 0, promptWeighting: false,
}

/** A picture of noise and gradients; alpha is 255. */
function picture(width: number, height: number): Uint8ClampedArray<ArrayBuffer> {
  const noise = new TorchGenerator(width).randn([width * height * 4])
  return new Uint8ClampedArray(width * height * 4).map((_, i) => (i % 4 === 3 ? 255 : (i / 16) % 256 + noise.data[i] * 20))
}

const anySize = (): void => {}

for (const [width, height] of [[1, 1], [7, 13], [64, 64], [200, 131]])
  test(`a ${width}x${height} picture survives encoding and decoding`, async t => {
    const rgba = picture(width, height)
    const png = await encodePng(rgba, width, height)
    const back = await decodePng(png, 'it', anySize)
    t.deepEqual([back.width, back.height], [width, height])
    t.deepEqual(withAlpha(back).rgba, rgba)
    // A second reader, libpng, whose checksums are strict.
    t.deepEqual(await sharp(png).ensureAlpha().raw().toBuffer(), Buffer.from(rgba))
  })

test('encoding leaves the caller its pixels and holds the event loop briefly', async t => {
  const rgba = picture(1024, 1024)
  const copy = rgba.slice()
  const png = encodePng(rgba, 1024, 1024)
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  t.is((await sharp(await png).metadata()).width, 1024)
  clearInterval(timer)
  t.true(turns > 2, `${turns} turns of the event loop`)
  t.true(Buffer.from(rgba.buffer).equals(Buffer.from(copy.buffer)))
})

test('an abort ends the encoding', async t => {
  const rgba = new Uint8ClampedArray(2048 * 2048 * 4)
  await t.throwsAsync(encodePng(rgba, 2048, 2048, {}, AbortSignal.abort()), { any: true, name: 'AbortError' })
  const controller = new AbortController()
  setTimeout(() => controller.abort(), 5)
  await t.throwsAsync(encodePng(rgba, 2048, 2048, {}, controller.signal), { any: true, name: 'AbortError' })
})

test('settings survive in the text chunk, whatever the texts hold', async t => {
  const cases: Partial<GenerationSettings>[] = [
    {}, { prompt: '' }, { prompt: 'ein „schönes" Bild 🎨 \\ \n\0 \ud800', negativePrompt: '日本' }, { prompt: 'x'.repeat(100_000) },
    { seed: 2 ** 53 }, { seed: 2n ** 64n - 1n }, { sampler: { _class_name: 'DDIMScheduler', beta_start: 0.1 } },
  ]
  for (const change of cases) {
    const image = new GeneratedImage(picture(8, 8), 8, 8, { ...settings, ...change })
    t.deepEqual(await readSettings(await image.png()), { ...settings, ...change })
  }
})

test('the text chunk is plain tEXt that other readers understand', async t => {
  const png = await new GeneratedImage(picture(8, 8), 8, 8, { ...settings, prompt: 'grün' }).png()
  const at = png.indexOf('tEXtasdm\0')
  t.true(at > 0)
  const length = png.readUInt32BE(at - 4)
  t.is(JSON.parse(png.toString('latin1', at + 9, at + 4 + length)).prompt, 'grün')
  t.is(png.readUInt32BE(at + 4 + length), crc32ByTable(png.subarray(at, at + 4 + length)))
  t.is((await readTexts(png, ['Software'])).get('Software'), 'asdm')
  t.is(await readSettings(await encodePng(picture(1, 1), 1, 1)), undefined)
})

test('save writes whole files only, and says what went wrong', async t => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-png-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true }))
  const image = new GeneratedImage(picture(8, 8), 8, 8, settings)
  const file = await image.save(path.join(folder, 'a.png'))
  t.is(file, path.join(folder, 'a.png'))
  t.deepEqual(await readSettings(file), settings)
  await image.save(path.join(folder, 'deep', 'er', 'a.png'), { folders: true })
  t.is((await t.throwsAsync(image.save(path.join(folder, 'none', 'a.png')), { instanceOf: AsdmError })).code, 'FILE_NOT_FOUND')
  fs.mkdirSync(path.join(folder, 'taken'))
  t.is((await t.throwsAsync(image.save(path.join(folder, 'taken')), { instanceOf: AsdmError })).code, 'FILE_WRITE')
  for (const wrong of ['', 'a\0b', 1, undefined, null, {}])
    t.is((await t.throwsAsync(image.save(wrong as string), { instanceOf: AsdmError })).code, 'INVALID_ARGUMENT')
  t.is(
    (await t.throwsAsync(image.save(file, { folder: true } as object), { instanceOf: AsdmError, message: /did you mean "folders"/ })).code,
    'INVALID_ARGUMENT',
  )
  t.deepEqual(fs.readdirSync(folder).sort(), ['a.png', 'deep', 'taken'])
})

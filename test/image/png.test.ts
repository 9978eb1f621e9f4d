import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import zlib from 'node:zlib'
import test from 'ava'
import { PNG } from 'pngjs'
import { AsdmError } from '../../lib/base/errors'
import { GeneratedImage, readSettings, type GenerationSettings } from '../../lib/image/generated-image'
import { decodePng, encodePng, pngTexts } from '../../lib/image/png'
import { TorchGenerator } from '../../lib/random/torch-generator'

const settings: GenerationSettings = {
  prompt: 'a cat', negativePrompt: '', guidanceScale: 7.5, steps: 20, sampler: 'ddim', eta: 0, seed: 1, width: 8, height: 8, count: 1, index: 0, clipSkip: 0, promptWeighting: false,
}

/** A picture of noise and gradients; alpha is 255. */
function picture(width: number, height: number): Uint8ClampedArray {
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
    t.deepEqual(Buffer.from(back.rgba), Buffer.from(rgba))
    // A second reader, whose checksums are strict.
    t.deepEqual(PNG.sync.read(png, { checkCRC: true }).data, Buffer.from(rgba))
  })

test('encoding leaves the caller its pixels and does not block the event loop', async t => {
  const rgba = picture(1024, 1024)
  const copy = rgba.slice()
  let busy = 1
  // Other processes can only make it worse, so the best of five counts. Encoding on this thread would keep it busy nearly all the time.
  for (let attempt = 0; attempt < 5 && busy >= 0.5; attempt++) {
    const before = performance.eventLoopUtilization()
    const png = await encodePng(rgba, 1024, 1024)
    busy = Math.min(busy, performance.eventLoopUtilization(before).utilization)
    t.is(PNG.sync.read(png).width, 1024)
  }
  t.deepEqual(rgba, copy)
  t.true(busy < 0.5, `${busy}`)
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
  const crc = (zlib as unknown as { crc32?: (data: Uint8Array) => number }).crc32
  if (crc !== undefined) t.is(png.readUInt32BE(at + 4 + length), crc(png.subarray(at, at + 4 + length)))
  t.is(pngTexts(png).Software, 'asdm')
  t.is(await readSettings(PNG.sync.write(new PNG({ width: 1, height: 1 }))), undefined)
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
  t.is((await t.throwsAsync(image.save(path.join(folder, 'taken')), { instanceOf: AsdmError })).code, 'FILE_READ')
  for (const wrong of ['', 'a\0b', 1, undefined, null, {}])
    t.is((await t.throwsAsync(image.save(wrong as string), { instanceOf: AsdmError })).code, 'INVALID_ARGUMENT')
  t.is((await t.throwsAsync(image.save(file, { folder: true } as object), { instanceOf: AsdmError, message: /did you mean "folders"/ })).code, 'INVALID_ARGUMENT')
  t.deepEqual(fs.readdirSync(folder).sort(), ['a.png', 'deep', 'taken'])
})

test('broken PNGs give errors, never anything else', async t => {
  const png = await encodePng(picture(40, 30), 40, 30, { asdm: '{}' })
  t.is((await t.throwsAsync(decodePng(Buffer.from('GIF89a'), 'it', anySize), { instanceOf: AsdmError })).code, 'UNSUPPORTED_FORMAT')
  const random = new TorchGenerator(5)
  for (let round = 0; round < 300; round++) {
    const [where, what] = random.randn([16]).data
    const broken = Buffer.from(png)
    const at = 8 + Math.floor(Math.abs(where * 1e6)) % (png.length - 8)
    if (round % 3 === 0) broken[at] ^= 1 + Math.floor(Math.abs(what * 1e6)) % 255
    const cut = round % 3 === 1 ? broken.subarray(0, at) : round % 3 === 2 ? Buffer.concat([broken.subarray(0, at), broken.subarray(at + 1)]) : broken
    pngTexts(cut)
    await decodePng(cut, 'it', (width, height) => {
      if (width !== 40 || height !== 30) throw new AsdmError('INVALID_ARGUMENT', 'Expected 40x30')
    }).catch((error: unknown) => {
      if (!(error instanceof AsdmError)) throw error
    })
  }
  t.pass()
})

test('a hostile size is refused before anything is unpacked', async t => {
  const png = await encodePng(picture(4, 4), 4, 4)
  png.writeUInt32BE(0x7fffffff, 16)
  png.writeUInt32BE(0x7fffffff, 20)
  const refuse = (width: number): void => { throw new AsdmError('INVALID_ARGUMENT', `too wide: ${width}`) }
  t.is((await t.throwsAsync(decodePng(png, 'it', refuse), { instanceOf: AsdmError })).message, 'too wide: 2147483647')
})

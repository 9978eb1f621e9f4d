import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import vm from 'node:vm'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { Slices } from '../../lib/base/slices'
import type { GeneratedImage } from '../../lib/image/generated-image'
import { fitImage } from '../../lib/image/fit'
import type { GenerateOptions } from '../../lib/request'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { gradient } from '../image/png-support'
import { repoPath } from '../support/fixtures'
import { sharp } from '../support/sharp'

let sd: StableDiffusion
test.before(async () => { sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 2 }) })
test.after.always(async () => { await sd?.dispose() })

const base = { prompt: 'a flat emoji of rocket', guidanceScale: 1, steps: 2, strength: 0.5, seed: 11 }
const generate = async (options: Partial<GenerateOptions> | Record<string, unknown>): Promise<GeneratedImage> =>
  (await sd.generate({ ...base, ...options } as GenerateOptions))[0]

/** A gradient with a spot. */
function drawing(width: number, height: number): { data: Uint8Array, width: number, height: number } {
  const data = new Uint8Array(width * height * 3)
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++)
    data.set((x - width / 2) ** 2 + (y - height / 2) ** 2 < height * 3 ? [200, 30, 40] : [x * 255 / width, y * 255 / height, 128],
      (y * width + x) * 3)
  return { data, width, height }
}

test('an image may come as any kind of bytes, path, URL or pixels', async t => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-inputs-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true }))
  const { data, width, height } = drawing(64, 64)
  const rgba = Uint8ClampedArray.from({ length: 64 * 64 * 4 }, (_, i) => (i % 4 === 3 ? i % 256 : data[(i >> 2) * 3 + i % 4]))
  const png = await sharp(data, { raw: { width, height, channels: 3 } }).png().toBuffer()
  const file = path.join(folder, 'a b ü.png')
  fs.writeFileSync(file, png)
  const exact = png.buffer.slice(png.byteOffset, png.byteOffset + png.length) as ArrayBuffer
  const shared = new SharedArrayBuffer(png.length)
  new Uint8Array(shared).set(png)
  const padded = Buffer.concat([png, Buffer.alloc(png.length % 2)])
  const words = new Int16Array(new Uint8Array(padded).buffer)
  const foreign = vm.runInNewContext('Uint8Array.from(bytes)', { bytes: [...png] }) as Uint8Array
  const wanted = (await generate({ image: { data, width, height } })).rgba
  const kinds: Record<string, unknown> = {
    'a path': file, 'a file: URL': pathToFileURL(file), 'a file: URL as text': pathToFileURL(file).href,
    'a data: URL': `data:image/png;base64,${png.toString('base64')}`,
    'a data: URL object': new URL(`data:image/png;base64,${png.toString('base64')}`),
    'a data: URL with escapes': `data:image/png,${[...png].map(byte => `%${byte.toString(16).padStart(2, '0')}`).join('')}`,
    'a Buffer': png, 'a Uint8Array': new Uint8Array(png), 'a typed array of words': words,
    'a DataView': new DataView(exact), 'an ArrayBuffer': exact, 'a SharedArrayBuffer': shared,
    'bytes of another realm': foreign, 'a Blob': new Blob([png]), 'RGBA': { rgba, width, height },
    'ImageData': { data: rgba, width, height, colorSpace: 'srgb' },
    'pixels in an ArrayBuffer': { data: data.buffer, width, height },
  }
  for (const [kind, image] of Object.entries(kinds)) t.deepEqual((await generate({ image })).rgba, wanted, kind)
})

test('JPEG, WebP and AVIF are read, turned as they say', async t => {
  const { data, width, height } = drawing(64, 32)
  const source = sharp(data, { raw: { width, height, channels: 3 } })
  const wanted = (await generate({ image: { data, width, height } })).rgba
  const meanDifference = (a: Uint8ClampedArray): number => a.reduce((sum, value, i) => sum + Math.abs(value - wanted[i]), 0) / a.length
  const lossless = await generate({ image: await sharp(data, { raw: { width, height, channels: 3 } }).webp({ lossless: true }).toBuffer() })
  t.deepEqual(lossless.rgba, wanted)
  const full = { quality: 100, chromaSubsampling: '4:4:4' }
  for (const bytes of [await source.jpeg(full).toBuffer(), await source.avif(full).toBuffer()])
    t.true(meanDifference((await generate({ image: bytes })).rgba) < 3)
  const turned = await generate({ image: await source.withMetadata({ orientation: 6 }).jpeg().toBuffer() })
  t.deepEqual([turned.width, turned.height], [32, 64])
  const jpeg = await source.jpeg().toBuffer()
  await t.throwsAsync(generate({ image: jpeg.subarray(0, jpeg.length / 2) }), { instanceOf: AsdmError, code: 'FILE_READ' })
  await t.throwsAsync(generate({ image: await source.gif().toBuffer() }), { instanceOf: AsdmError, code: 'UNSUPPORTED_FORMAT' })
})

test('images and masks of another size are fitted, and settings say how', async t => {
  const image = drawing(70, 50)
  const mask = { width: 35, height: 25, data: Uint8Array.from({ length: 35 * 25 }, (_, i) => (i % 35 < 17 ? 0 : 255)) }
  // No size asked for: down to multiples; one side: the other in proportion; both: as asked.
  const sizes = [[{}, 68, 48], [{ width: 140 }, 140, 100], [{ height: 100 }, 140, 100], [{ width: 64, height: 64 }, 64, 64]] as const
  for (const [asked, width, height] of sizes) {
    const made = await generate({ image, ...asked })
    t.deepEqual([made.width, made.height, made.settings.fit], [width, height, 'cover'])
  }
  for (const fit of ['cover', 'contain', 'stretch'] as const) {
    const size = { width: 64, height: 64 }
    const made = await generate({ image, mask, fit, ...size })
    const by = async (source: { data: Uint8Array, width: number, height: number }, channels: number): Promise<object> =>
      fitImage({ ...source, channels }, size, fit, new Slices())
    const same = await generate({ image: await by(image, 3), mask: await by(mask, 1) })
    t.deepEqual(made.rgba, same.rgba)
    t.deepEqual([made.settings.fit, same.settings.fit], [fit, undefined])
  }
  t.is((await generate({ image: drawing(64, 64), mask })).settings.fit, 'cover')
  const [small] = await sd.generate({ ...base, image: drawing(1, 1) })
  t.deepEqual([small.width, small.height], [4, 4])
})

test('keepOutside keeps what the mask keeps, pixel for pixel', async t => {
  const image = drawing(64, 64)
  const mask = { width: 64, height: 64, data: Uint8Array.from({ length: 64 * 64 }, (_, i) => (i % 64 < 30 ? 0 : i % 64 < 34 ? 128 : 255)) }
  const plain = await generate({ image, mask, strength: 1 })
  const kept = await generate({ image, mask, strength: 1, keepOutside: true })
  t.is(plain.settings.keepOutside, undefined)
  t.is(kept.settings.keepOutside, true)
  let changed = 0
  for (let i = 0; i < 64 * 64; i++)
    for (let c = 0; c < 3; c++) {
      const value = kept.rgba[4 * i + c]
      if (mask.data[i] === 0) t.is(value, image.data[3 * i + c])
      if (mask.data[i] === 255) t.is(value, plain.rgba[4 * i + c])
      if (mask.data[i] === 0 && plain.rgba[4 * i + c] !== value) changed++
    }
  t.true(changed > 0, 'the VAE changes what it should keep')
})

test('a caller may go on writing to what it handed in', async t => {
  const image = drawing(64, 64)
  const wanted = (await generate({ image })).rgba
  const running = generate({ image })
  image.data.fill(0)
  t.deepEqual((await running).rgba, wanted)
})

test('a large image is fitted without holding the event loop, and an abort is heard', async t => {
  const width = 4096
  const image = { width, height: width, data: new Uint8Array(width * width * 3) }
  const controller = new AbortController()
  let turns = 0
  const timer = setInterval(() => {
    if (++turns === 5) controller.abort()
  }, 2)
  const size = { width: 64, height: 64 }
  await t.throwsAsync(generate({ image, mask: image, ...size, keepOutside: true, signal: controller.signal }), { any: true, name: 'AbortError' })
  clearInterval(timer)
  t.is(turns, 5)
  // The size of what is handed in is bounded too.
  const huge = gradient(1, 1)
  huge.writeUInt32BE(70_000, 16)
  await t.throwsAsync(generate({ image: huge }), { instanceOf: AsdmError })
})

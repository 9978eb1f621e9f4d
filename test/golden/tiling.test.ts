import fs from 'node:fs'
import test from 'ava'
import { StableDiffusion, VAE } from '../../lib'
import { Slices } from '../../lib/base/slices'
import { tiled, tileSide } from '../../lib/components/tiling'
import { fixture, maxAbsDiff, repoPath } from '../support/fixtures'

interface Case { kind: 'decode' | 'encode', input: number[], output: number[], apart: number, at: number[], values: number[] }
const cases: Case[] = JSON.parse(fs.readFileSync(repoPath('test', 'golden', 'tiling.json'), 'utf8'))

const wave = (shape: number[], step: number) =>
  ({ data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(step * i)), shape })

for (const { kind, input, output, apart, at, values } of cases) {
  test(`${kind} [${input}] tile by tile is diffusers'`, async t => {
    const vae = await VAE.load(fixture('sd15-tiny'), { threads: 2 })
    t.teardown(() => vae.dispose())
    const run = async (tiling: boolean | 'auto') => kind === 'decode'
      ? vae.decode(wave(input, 0.37), { tiling })
      : (await vae.encode(wave(input, 0.0137), { tiling })).mean
    const made = await run(true)
    t.deepEqual(made.shape, output)
    at.forEach((index, i) => t.true(Math.abs(made.data[index] - values[i]) <= 2e-5, `[${index}] ${made.data[index]} ${values[i]}`))
    // What is in one piece differs, by what it differs there.
    const whole = await run(false)
    t.true(Math.abs(maxAbsDiff(whole.data, made.data) - apart) <= 4e-5)
    t.deepEqual((await run('auto')).data, whole.data)
  })
}

test('overlaps are faded as PyTorch rounds', async t => {
  // Tiles of thirds, two thirds, …: the first column of an overlap is the earlier tile's alone.
  let next = 1
  const made = await tiled({ data: new Float32Array(4 * 12), shape: [1, 1, 4, 12] }, { input: 4, output: 4 },
    tile => Promise.resolve({ data: new Float32Array(tile.data.length).fill(next++ / 3), shape: tile.shape }), new Slices())
  t.deepEqual(made.shape, [1, 1, 4, 12])
  const [one, two] = [Math.fround(1 / 3), Math.fround(2 / 3)]
  t.deepEqual([...made.data.subarray(0, 5)], [one, one, one, one, two])
  const wide = await tiled({ data: new Float32Array(10), shape: [1, 1, 1, 10] }, { input: 8, output: 8 },
    tile => Promise.resolve({ data: new Float32Array(tile.data.length).fill(tile.data.length), shape: tile.shape }), new Slices())
  t.deepEqual([...wide.data], [8, 8, 8, 8, 8, 8, 8, 6, 4, 4].map((value, i) => (i === 6 ? 8 : value)))
})

test('the side of tiles is the config\'s, in quarters of whole latent pixels', t => {
  t.is(tileSide(true, 128, 128, 8, 512), 64)
  t.is(tileSide(true, 128, 128, 8, 768), 96)
  t.is(tileSide(true, 128, 128, 8, 100), 12)
  t.is(tileSide(true, 128, 128, 8, 1), 4)
  t.is(tileSide(true, 128, 128, 8, undefined), 64)
  t.is(tileSide(true, 64, 64, 8, 512), undefined)
  t.is(tileSide(true, 64, 65, 8, 512), 64)
  t.is(tileSide('auto', 128, 128, 8, 512), undefined)
  t.is(tileSide('auto', 128, 129, 8, 512), 64)
  t.is(tileSide(false, 512, 512, 8, 512), undefined)
})

test('requests tile what they decode and encode, and settings say so', async t => {
  const sd = await StableDiffusion.load(fixture('sd15-tiny'), { threads: 2 })
  t.teardown(() => sd.dispose())
  const image = { data: new Uint8Array(160 * 136 * 3).fill(90), width: 160, height: 136 }
  const generate = async (more: object) => (await sd.generate({ prompt: 'x', seed: 1, steps: 1, ...more }))[0]!
  for (const more of [{ width: 160, height: 136 }, { image, strength: 1 }]) {
    const plain = await generate(more)
    const [tiles, off] = [await generate({ ...more, tiling: true }), await generate({ ...more, tiling: false })]
    t.is(plain.settings.tiling, undefined)
    t.is(tiles.settings.tiling, true)
    t.is(off.settings.tiling, false)
    t.deepEqual(off.rgba, plain.rgba)
    t.notDeepEqual(tiles.rgba, plain.rgba)
    t.deepEqual((await sd.generate({ ...tiles.settings, ...('image' in more && { image }) } as any))[0]!.rgba, tiles.rgba)
  }
  for (const tiling of ['on', 1, null]) await t.throwsAsync(generate({ tiling }), { code: 'INVALID_ARGUMENT' } as object)
})

test('an abort stops between tiles', async t => {
  const vae = await VAE.load(fixture('sd15-tiny'), { threads: 2 })
  t.teardown(() => vae.dispose())
  const controller = new AbortController()
  const decoding = vae.decode(wave([1, 4, 96, 96], 0.37), { tiling: true, signal: controller.signal })
  setTimeout(() => controller.abort(), 5)
  await t.throwsAsync(decoding, { any: true, name: 'AbortError' })
  t.is((await vae.decode(wave([1, 4, 8, 8], 0.37), { tiling: true })).shape[2], 64)
})

import { createHash } from 'node:crypto'
import fs from 'node:fs'
import test from 'ava'
import { Slices } from '../../lib/base/slices'
import { fitImage, type Fit } from '../../lib/image/fit'
import { overlay } from '../../lib/image/overlay'
import type { PixelImage } from '../../lib/image/source'
import { repoPath } from '../support/fixtures'

type Sides = [width: number, height: number]
const references = JSON.parse(fs.readFileSync(repoPath('test', 'image', 'fit.json'), 'utf8')) as {
  fits: { source: Sides, target: Sides, fit: Fit, rgb: string, grey: string }[]
  overlays: { size: Sides, result: string }[]
}
const digest = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex').slice(0, 16)

/** The pixels that fit.py makes too. */
function pixels([width, height]: Sides, seed: number, channels = 3): PixelImage {
  const length = width * height * channels
  const data = Uint8Array.from({ length }, (_, i) => (Math.imul(i + seed, 2654435761) >>> 25) + Math.floor(i / 7))
  return { width, height, channels, data }
}

for (const { source, target, fit, rgb, grey } of references.fits)
  test(`${source.join('x')} to ${target.join('x')}, ${fit}, is diffusers' bit for bit`, async t => {
    const [width, height] = target
    const fitted = await fitImage(pixels(source, 1), { width, height }, fit, new Slices())
    t.deepEqual([fitted.width, fitted.height, fitted.data.length], [width, height, width * height * 3])
    t.is(digest(fitted.data), rgb)
    t.is(digest((await fitImage(pixels(source, 2, 1), { width, height }, fit, new Slices())).data), grey)
  })

const extremes: [Sides, Sides][] = [[[60_000, 1], [512, 512]], [[1, 60_000], [8, 8]], [[8, 8], [4, 400]], [[5, 3], [512, 4]]]

test('extreme proportions fit, too', async t => {
  for (const fit of ['cover', 'contain', 'stretch'] as const)
    for (const [source, target] of extremes) {
      const { width, height, data } = await fitImage(pixels(source, 1), { width: target[0], height: target[1] }, fit, new Slices())
      t.deepEqual([width, height, data.length], [...target, target[0] * target[1] * 3])
    }
})

test('an overlay is diffusers\' bit for bit', async t => {
  for (const { size, result } of references.overlays) {
    const made = pixels(size, 5)
    const rgba = new Uint8ClampedArray(size[0] * size[1] * 4)
    for (let i = 0; i < size[0] * size[1]; i++) rgba.set([...made.data.subarray(3 * i, 3 * i + 3), 255], 4 * i)
    await overlay(rgba, pixels(size, 4), pixels(size, 3, 1).data, new Slices())
    t.is(digest(Uint8Array.from({ length: made.data.length }, (_, i) => rgba[Math.floor(i / 3) * 4 + (i % 3)])), result)
  }
})

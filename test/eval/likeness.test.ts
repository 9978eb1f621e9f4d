import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { meanSquaredError, psnr, ssim } from '../../lib/eval/likeness'
import { image, reference } from './references'

for (const { width, height, kind, psnr: decibels, ssim: similarity } of reference.pairs)
  test(`PSNR and SSIM of a ${kind} image of ${width}x${height} are scikit-image's`, t => {
    const [one, two] = [image('base', width, height), image(kind, width, height)]
    t.true(Math.abs(psnr(one, two) - decibels) < 1e-9, `${psnr(one, two)} instead of ${decibels}`)
    t.true(Math.abs(ssim(one, two) - similarity) < 1e-9, `${ssim(one, two)} instead of ${similarity}`)
    t.is(ssim(two, one), ssim(one, two))
    t.is(psnr(two, one), psnr(one, two))
  })

test('equal images, alpha apart, are equal', t => {
  const one = image('base', 20, 15)
  const two = { ...one, rgba: one.rgba.map((value, i) => (i % 4 === 3 ? 7 : value)) }
  t.is(meanSquaredError(one, two), 0)
  t.is(psnr(one, two), Infinity)
  t.true(Math.abs(ssim(one, two) - 1) < 1e-12)
})

test('one level in one channel of one pixel counts as it should', t => {
  const one = image('flat', 12, 12)
  const rgba = one.rgba.slice()
  rgba[4 * 70 + 1] += 1
  t.is(meanSquaredError(one, { ...one, rgba }), 1 / (3 * 144))
})

test('images that do not fit each other, or the window, are refused', t => {
  const one = image('base', 12, 11)
  for (const call of [
    () => psnr(one, image('base', 11, 12)), () => ssim(one, image('base', 12, 12)),
    () => ssim(image('base', 10, 30), image('base', 10, 30)), () => psnr(one, { ...one, rgba: one.rgba.slice(4) }),
  ])
    t.is(t.throws(call, { instanceOf: AsdmError })?.code, 'SHAPE_MISMATCH')
})

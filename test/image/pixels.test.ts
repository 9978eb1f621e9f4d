import test from 'ava'
import { fromPixels, greyOf, hideMasked, maskFromGrey, roundHalfToEven, shrinkNearest, toRgba } from '../../lib/image/pixels'

test('halves are rounded to the even neighbour', t => {
  t.deepEqual([0, 0.4, 0.5, 0.6, 1.5, 2.5, 3.5, 254.5, 255].map(roundHalfToEven), [0, 0, 0, 1, 2, 2, 4, 254, 255])
})

test('a picture is clamped and rounded channel by channel', async t => {
  const data = Float32Array.of(-1, 1, 0, -9, /* green */ 9, NaN, 0.5, -0.5, /* blue */ 1 / 255, 3 / 255, -1 / 255, 0.2)
  const rgba = await toRgba({ data, shape: [1, 3, 2, 2] }, 0)
  t.deepEqual([...rgba], [0, 255, 128, 255, 255, 0, 129, 255, 128, 191, 127, 255, 0, 64, 153, 255])
})

test('any item of a batch is taken, also of a large one', async t => {
  const plane = 600 * 500
  const data = new Float32Array(2 * 3 * plane).fill(-1)
  data.fill(1, 3 * plane)
  t.true((await toRgba({ data, shape: [2, 3, 500, 600] }, 0)).every((value, i) => value === (i % 4 === 3 ? 255 : 0)))
  t.true((await toRgba({ data, shape: [2, 3, 500, 600] }, 1)).every(value => value === 255))
})

test('pixels of three and four channels become the same tensor', async t => {
  const rgb = await fromPixels({ data: Uint8Array.of(0, 128, 255, 51, 102, 153), width: 2, height: 1, channels: 3 })
  t.deepEqual(rgb, await fromPixels({ data: Uint8Array.of(0, 128, 255, 9, 51, 102, 153, 9), width: 2, height: 1, channels: 4 }))
  t.deepEqual(rgb.shape, [1, 3, 1, 2])
  const expected = [0, 51, 128, 102, 255, 153].map(value => Math.fround(2 * Math.fround(value / 255) - 1))
  t.deepEqual([...rgb.data], expected)
})

test('every byte survives the way to a tensor and back', async t => {
  const bytes = Uint8Array.from({ length: 256 * 3 }, (_, i) => i / 3)
  const rgba = await toRgba(await fromPixels({ data: bytes, width: 16, height: 16, channels: 3 }), 0)
  t.true(rgba.every((value, i) => value === (i % 4 === 3 ? 255 : i >> 2)))
})

test('a mask is one from half grey on', async t => {
  const mask = async (channels: number, ...data: number[]): Promise<number[]> =>
    [...await maskFromGrey(await greyOf({ data: Uint8Array.from(data), width: data.length / channels, height: 1, channels }))]
  t.deepEqual(await mask(1, 0, 127, 128, 255), [0, 0, 1, 1])
  t.deepEqual(await mask(3, 255, 0, 0, 0, 255, 0), [0, 1])
  t.deepEqual(await mask(4, 255, 255, 255, 0, 0, 0, 0, 255), [1, 0])
})

test('masks shrink to their top left pixels, and hide what is to be repainted', async t => {
  const mask = Float32Array.of(1, 0, 0, 0, /**/ 0, 0, 0, 0)
  t.deepEqual(shrinkNearest(mask, 4, 2, 2), { data: Float32Array.of(1, 0), shape: [1, 1, 1, 2] })
  const image = { data: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [1, 3, 1, 2] }
  t.deepEqual([...(await hideMasked(image, Float32Array.of(0, 1))).data], [1, 0, 3, 0, 5, 0])
})

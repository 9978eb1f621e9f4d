import test from 'ava'
import { Slices } from '../../lib/base/slices'
import { exifOrientation, pngOrientation, upright, type Orientation } from '../../lib/image/orientation'
import { imageSource, type PixelImage } from '../../lib/image/source'
import { pngSignature, writeChunk } from '../../lib/image/png/chunks'
import { encodePng } from '../../lib/image/png/encode'

/** Red of a 3x2 image after PIL 12.3's `ImageOps.exif_transpose`, and its width, by the orientation that PIL had written to the PNG. */
const pil: Record<Orientation, [width: number, red: number[]]> = {
  1: [3, [1, 11, 21, 31, 41, 51]], 2: [3, [21, 11, 1, 51, 41, 31]], 3: [3, [51, 41, 31, 21, 11, 1]], 4: [3, [31, 41, 51, 1, 11, 21]],
  5: [2, [1, 31, 11, 41, 21, 51]], 6: [2, [31, 1, 41, 11, 51, 21]], 7: [2, [51, 21, 41, 11, 31, 1]], 8: [2, [21, 51, 11, 41, 1, 31]],
}
/** EXIF data as PIL writes them for an orientation, big-endian. */
const exif = (orientation: number): Buffer =>
  Buffer.from(`4578696600004d4d002a0000000800010112000300000001${orientation.toString(16).padStart(4, '0')}000000000000`, 'hex')
const data = Uint8Array.from({ length: 18 }, (_, i) => 10 * Math.floor(i / 3) + i % 3 + 1)
const image = { data, width: 3, height: 2 }

async function pngWith(chunk: Buffer, place: 'first' | 'last'): Promise<Buffer> {
  const rgba = Uint8ClampedArray.from({ length: 24 }, (_, i) => i % 4 === 3 ? 255 : data[3 * Math.floor(i / 4) + i % 4]!)
  const png = await encodePng(rgba, 3, 2)
  const at = place === 'first' ? pngSignature().length + 25 : png.length - 12
  return Buffer.concat([png.subarray(0, at), writeChunk('eXIf', chunk), png.subarray(at)])
}

for (const [key, [width, red]] of Object.entries(pil)) {
  const orientation = Number(key) as Orientation
  test(`orientation ${orientation} is turned as PIL turns it`, async t => {
    const turned = await upright(image, orientation, new Slices())
    t.deepEqual([turned.width, turned.height, turned.data.length], [width, 6 / width, 18])
    t.deepEqual([...turned.data.filter((_, i) => i % 3 === 0)], red)
    t.true(turned.data.every((value, i) => i % 3 === 0 || value === turned.data[i - 1]! + 1))
    for (const place of ['first', 'last'] as const) {
      const png = await pngWith(exif(orientation), place)
      t.is(pngOrientation(png), orientation)
      const source = imageSource(png, 'image')
      t.deepEqual(source.size, { width, height: 6 / width })
      const read = await source.read(new AbortController().signal) as PixelImage
      t.deepEqual([read.width, read.height, [...read.data]], [width, 6 / width, [...turned.data]])
    }
  })
}

test('EXIF in both byte orders, with and without its prefix; nonsense is upright', t => {
  const little = Buffer.from('49492a0008000000020000010300010000000900000012010300010000000800000000000000', 'hex')
  t.is(exifOrientation(little), 8)
  t.is(exifOrientation(Buffer.concat([Buffer.from('Exif\0\0'), little])), 8)
  t.is(exifOrientation(exif(6).subarray(6)), 6)
  for (const nonsense of [
    Buffer.alloc(0), Buffer.alloc(7), Buffer.alloc(64), exif(0), exif(9), Buffer.from('4d4d002affffffff', 'hex'), Buffer.from('4d4d002a00000008', 'hex'),
    Buffer.from('4d4d002a00000008ffff', 'hex'), Buffer.from('4d4d002a000000080001011200040000000100060000', 'hex'),
  ])
    t.is(exifOrientation(nonsense), 1, nonsense.toString('hex'))
  for (let length = 0; length < 32; length++) t.true([1, 6].includes(exifOrientation(exif(6).subarray(0, length))))
})

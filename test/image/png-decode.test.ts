import { createHash } from 'node:crypto'
import fs from 'node:fs'
import zlib from 'node:zlib'
import test from 'ava'
import fc from 'fast-check'
import { AsdmError } from '../../lib/base/errors'
import { readAlpha } from '../../lib/image/alpha'
import { greyOf, maskFromGrey } from '../../lib/image/pixels'
import { decodePng } from '../../lib/image/png/decode'
import { encodePng } from '../../lib/image/png/encode'
import { crc32, crc32ByTable } from '../../lib/image/png/crc'
import { repoPath } from '../support/fixtures'
import { chunk, deflatedZeros, end, header, imageData, png } from './png-support'

const anySize = (): void => {}
const hash = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex').slice(0, 16)

/** Luma in 16-bit fixed point, as PIL's `convert("L")`. */
const grey = (rgb: Uint8Array): Uint8Array =>
  Uint8Array.from(
    { length: rgb.length / 3 }, (_, i) => (19595 * rgb[3 * i] + 38470 * rgb[3 * i + 1] + 7471 * rgb[3 * i + 2] + 0x8000) >> 16,
  )

const references = JSON.parse(fs.readFileSync(repoPath('test', 'image', 'reference.json'), 'utf8')) as
  Record<string, { png: string, width: number, height: number, rgb: string, grey: string, alpha?: string }>

test('PNGs of every kind give what PIL gives', async t => {
  t.true(Object.keys(references).length > 120)
  for (const [name, expected] of Object.entries(references)) {
    const { data, width, height } = await decodePng(Buffer.from(expected.png, 'base64'), name, anySize)
    t.deepEqual([width, height], [expected.width, expected.height], name)
    t.is(hash(data), expected.rgb, name)
    t.is(hash(grey(data)), expected.grey, name)
  }
})

test('alpha is what PIL gives, for 16-bit colours by all their bits', async t => {
  for (const [name, expected] of Object.entries(references)) {
    const bytes = new Uint8Array(Buffer.from(expected.png, 'base64'))
    const { data, width, height } = await readAlpha(bytes)
    t.deepEqual([width, height, data.length], [expected.width, expected.height, expected.width * expected.height], name)
    if (expected.alpha !== undefined) t.is(hash(data), expected.alpha, name)
  }
  const row = [0x12, 0x34, 0x12, 0x35, 0x13, 0x34]
  const key = chunk('tRNS', Buffer.from([0x12, 0x34]))
  const sixteen = png(header(3, 1, { type: 0, depth: 16 }), key, imageData(Uint8Array.from([0, ...row])), end)
  t.deepEqual([...(await readAlpha(new Uint8Array(sixteen))).data], [0, 255, 255])
  await t.throwsAsync(readAlpha(new Uint8Array(sixteen), { maxPixels: 2 }), { code: 'INVALID_ARGUMENT' })
  await t.throwsAsync(readAlpha(new Uint8Array(sixteen).subarray(0, -14)), { code: 'FILE_READ' })
})

test('a transparent colour keeps its colour, in images and masks', async t => {
  const row = [0, 0, 255, 255]
  const raw = Uint8Array.from({ length: 20 }, (_, i) => (i % 5 === 0 ? 0 : row[i % 5 - 1]))
  for (const keyed of [[], [chunk('tRNS', Buffer.from([0, 255]))]]) {
    const image = await decodePng(png(header(4, 4, { type: 0 }), ...keyed, imageData(raw), end), 'it', anySize)
    t.deepEqual([...await maskFromGrey(await greyOf({ ...image, channels: 3 }))], [0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1])
  }
})

test('palette entries that are missing are black', async t => {
  const file = png(header(3, 1, { type: 3 }), chunk('PLTE', Buffer.from([1, 2, 3])), imageData(Uint8Array.of(0, 0, 1, 255)), end)
  const { data } = await decodePng(file, 'it', anySize)
  t.deepEqual([...data], [1, 2, 3, 0, 0, 0, 0, 0, 0])
})

const size = 128
const raw = new Uint8Array(size * (size * 3 + 1))
const whole = imageData(raw)
const refusals: Record<string, Buffer> = {
  'no image data': png(header(size, size), end),
  'empty image data': png(header(size, size), chunk('IDAT'), end),
  'random image data': png(header(size, size), chunk('IDAT', Buffer.from('ffeeddccbbaa00112233'.repeat(20), 'hex')), end),
  'short image data': png(header(size, size), imageData(raw.subarray(0, 10)), chunk('tEXt', Buffer.alloc(100)), end),
  'one byte too few': png(header(size, size), imageData(raw.subarray(1)), end),
  'one byte too many': png(header(size, size), imageData(new Uint8Array(raw.length + 1)), end),
  'grey with 1 bit and no data': png(header(size, size, { depth: 1, type: 0 }), chunk('IDAT'), end),
  'cut compressed data': png(header(size, size), chunk('IDAT', zlib.deflateSync(raw).subarray(0, -5)), end),
  'wrong Adler sum': png(header(size, size), chunk('IDAT', Buffer.concat([zlib.deflateSync(raw).subarray(0, -1), Buffer.from([9])])), end),
  'no end': png(header(size, size), whole),
  'end with data': png(header(size, size), whole, chunk('IEND', Buffer.from([1]))),
  'cut in the end chunk': png(header(size, size), whole, end).subarray(0, -1),
  'second header': png(header(size, size), header(size, size), whole, end),
  'second, larger header': png(header(size, size), header(30000, 30000), whole, end),
  'wrong checksum of the header': png(Buffer.concat([header(size, size).subarray(0, -1), Buffer.from([0])]), whole, end),
  'wrong checksum of image data': png(header(size, size), chunk('IDAT', zlib.deflateSync(raw), { crc: 1 }), end),
  'wrong checksum of the end': png(header(size, size), whole, chunk('IEND', undefined, { crc: 1 })),
  'chunk longer than the file': png(header(size, size), chunk('IDAT', zlib.deflateSync(raw), { length: 2 ** 31 - 1 }), end),
  'chunk longer than any may be': png(header(size, size), chunk('IDAT', zlib.deflateSync(raw), { length: 2 ** 32 - 1 }), end),
  'chunk type that is no letters': png(header(size, size), chunk('ID\0T', zlib.deflateSync(raw)), end),
  'unknown critical chunk': png(header(size, size), chunk('ABCD'), whole, end),
  'chunk between image data': png(header(size, size), whole, chunk('tEXt'), chunk('IDAT'), end),
  'no palette': png(header(size, size, { type: 3 }), imageData(new Uint8Array(size * (size + 1))), end),
  'empty palette': png(header(size, size, { type: 3 }), chunk('PLTE'), imageData(new Uint8Array(size * (size + 1))), end),
  'palette of 257': png(
    header(size, size, { type: 3 }), chunk('PLTE', Buffer.alloc(771)), imageData(new Uint8Array(size * (size + 1))), end),
  'two palettes': png(header(size, size), chunk('PLTE', Buffer.alloc(3)), chunk('PLTE', Buffer.alloc(3)), whole, end),
  'filter type 5': png(header(size, size), imageData(raw.slice().fill(5, 0, 1)), end),
  'width 0': png(header(0, size), whole, end),
  'height 2^31': png(header(size, 2 ** 31), whole, end),
  'colour type 5': png(header(size, size, { type: 5 }), whole, end),
  'RGB with 4 bits': png(header(size, size, { depth: 4 }), whole, end),
  'interlace 2': png(header(size, size, { interlace: 2 }), whole, end),
  'compression 1': png(header(size, size, { compression: 1 }), whole, end),
  'filter method 1': png(header(size, size, { filter: 1 }), whole, end),
  'text before the header': png(chunk('tEXt'), header(size, size), whole, end),
  'signature only': png(),
}

test('whatever is damaged, short or out of order is refused, every time', async t => {
  t.is((await decodePng(png(header(size, size), whole, end), 'it', anySize)).data.length, size * size * 3)
  for (const [name, file] of Object.entries(refusals)) {
    for (let round = 0; round < 3; round++) {
      const error = await t.throwsAsync(decodePng(file, 'it', anySize), { instanceOf: AsdmError }, name)
      t.is(error.code, 'FILE_READ', name)
    }
  }
  for (const other of [Buffer.from('GIF89a'), Buffer.alloc(0), Buffer.from([0xff, 0xd8, 0xff])])
    t.is((await t.throwsAsync(decodePng(other, 'it', anySize), { instanceOf: AsdmError })).code, 'UNSUPPORTED_FORMAT')
})

test('a size that is refused, or that the bytes cannot hold, takes no memory', async t => {
  const huge = png(header(2 ** 31 - 1, 2 ** 31 - 1), whole, end)
  const refuse = (width: number): void => { throw new AsdmError('INVALID_ARGUMENT', `too wide: ${width}`) }
  t.is((await t.throwsAsync(decodePng(huge, 'it', refuse), { instanceOf: AsdmError })).message, 'too wide: 2147483647')
  const error = await t.throwsAsync(decodePng(huge, 'it', anySize), { instanceOf: AsdmError })
  t.regex(error.message, /cannot hold 2147483647x2147483647 pixels/)
})

test('no more is inflated than the header promises', async t => {
  const bomb = await deflatedZeros(256 * 2 ** 20)
  for (const interlace of [0, 1]) {
    const before = process.memoryUsage().arrayBuffers
    let most = 0
    const timer = setInterval(() => { most = Math.max(most, process.memoryUsage().arrayBuffers - before) }, 1)
    const file = png(header(size, size, { interlace }), chunk('IDAT', bomb), end)
    const error = await t.throwsAsync(decodePng(file, 'it', anySize), { instanceOf: AsdmError })
    clearInterval(timer)
    t.regex(error.message, /more image data than its size takes/)
    t.true(most < 16 * 2 ** 20, `${most} bytes`)
  }
})

test('many chunks take time in proportion', async t => {
  const bytes = zlib.deflateSync(raw)
  const empty = chunk('IDAT')
  const one = (i: number): Buffer => chunk('IDAT', bytes.subarray(i, i + 1))
  const texts = new Array<Buffer>(20_000).fill(chunk('tEXt', Buffer.alloc(8)))
  const many = png(header(size, size), ...texts, ...Array.from(bytes, (_, i) => one(i)), ...new Array<Buffer>(20_000).fill(empty), end)
  t.is((await decodePng(many, 'it', anySize)).width, size)
  const palettes = png(header(size, size), ...new Array<Buffer>(20_000).fill(chunk('PLTE', Buffer.alloc(768))), whole, end)
  t.regex((await t.throwsAsync(decodePng(palettes, 'it', anySize), { instanceOf: AsdmError })).message, /second palette/)
})

test('an abort ends the decoding, before it and in the middle', async t => {
  const file = png(header(4096, 4096), chunk('IDAT', await deflatedZeros(4096 * (4096 * 3 + 1))), end)
  await t.throwsAsync(decodePng(file, 'it', anySize, AbortSignal.abort()), { any: true, name: 'AbortError' })
  const controller = new AbortController()
  const decoding = decodePng(file, 'it', anySize, controller.signal)
  setTimeout(() => controller.abort(new Error('enough')), 20)
  const error = await t.throwsAsync(decoding, { any: true, name: 'AbortError' })
  t.is(((error as Error).cause as Error).message, 'enough')
})

test('CRC-32 is that of ISO 3309', t => {
  // The check value of the CRC catalogue.
  t.is(crc32ByTable(Buffer.from('123456789')), 0xcbf43926)
  t.is(crc32(Buffer.from('123456789')), 0xcbf43926)
  t.is(crc32ByTable(Buffer.from('456789'), crc32ByTable(Buffer.from('123'))), 0xcbf43926)
})

test('changed bytes give errors or images of the right size, nothing else', async t => {
  const names = ['type 3, 2 bits, interlaced', 'type 6, 16 bits', 'type 0, 1 bits', 'IDAT of 7 bytes, with an empty one']
  const files = names.map(name => Buffer.from(references[name].png, 'base64'))
  files.push(await encodePng(new Uint8ClampedArray(40 * 30 * 4), 40, 30, { asdm: '{}' }))
  await fc.assert(fc.asyncProperty(
    fc.integer({ min: 0, max: files.length - 1 }),
    fc.array(fc.record({
      at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), byte: fc.integer({ min: 0, max: 255 }),
      how: fc.constantFrom('set', 'insert', 'remove', 'cut'),
    }), { minLength: 1, maxLength: 4 }),
    fc.boolean(),
    async (which, changes, repaired) => {
      let file = Buffer.from(files[which])
      for (const { at, byte, how } of changes) {
        const place = 8 + Math.floor(at * (file.length - 8))
        if (how === 'set') file[place] = byte
        else if (how === 'cut') file = file.subarray(0, place)
        else
          file = Buffer.concat([
            file.subarray(0, place), ...(how === 'insert' ? [Buffer.of(byte)] : []), file.subarray(how === 'remove' ? place + 1 : place),
          ])
      }
      if (repaired) repairChecksums(file)
      let promised = 0
      const check = (width: number, height: number): void => {
        if (width * height > 2 ** 20) throw new AsdmError('INVALID_ARGUMENT', 'too large')
        promised = width * height * 3
      }
      const image = await decodePng(file, 'it', check).catch((error: unknown) => {
        if (!(error instanceof AsdmError)) throw error
      })
      return image === undefined || image.data.length === promised
    },
  ), { seed: 14, numRuns: 1500 })
  t.pass()
})

/** Gives every chunk the right checksum, so that the fuzzer gets past it. */
function repairChecksums(file: Buffer): void {
  for (let at = 8; at + 12 <= file.length;) {
    const length = file.readUInt32BE(at)
    if (at + 12 + length > file.length) return
    file.writeUInt32BE(crc32ByTable(file.subarray(at + 4, at + 8 + length)), at + 8 + length)
    at += 12 + length
  }
}

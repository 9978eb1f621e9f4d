import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { bfloatOfFloat, convert, floatOfHalf, halfOfFloat, readConverted } from '../../lib/model/dtype'
import type { StoredDType } from '../../lib/native/configs'
import { rounds, seeded, seedOf } from '../support/random'
import { temporaryFolder } from '../support/temporary'

// The references are written from the formats' definitions (IEEE 754-2008, 3.4 and 4.3.1) in double precision, which holds every
// number met here exactly.

const word = new Uint32Array(1)
const asFloat = new Float32Array(word.buffer)
const floatOf = (bits: number): number => { word[0] = bits; return asFloat[0] }
const bitsOf = (value: number): number => { asFloat[0] = value; return word[0] }

/** The number that 16 bits mean. */
function valueOf(bits: number, exponentBits: number, mantissaBits: number): number {
  const bias = 2 ** (exponentBits - 1) - 1
  const exponent = (bits >> mantissaBits) & (2 ** exponentBits - 1)
  const mantissa = bits & (2 ** mantissaBits - 1)
  const sign = bits & 0x8000 ? -1 : 1
  if (exponent === 2 ** exponentBits - 1) return mantissa === 0 ? sign * Infinity : NaN
  return sign * (exponent === 0 ? mantissa * 2 ** (1 - bias - mantissaBits) : (1 + mantissa / 2 ** mantissaBits) * 2 ** (exponent - bias))
}

/** Rounds by the definition: divides by the distance of neighbours, takes the nearest whole number, the even one in the middle. */
function rounded(value: number, exponentBits: number, mantissaBits: number): number {
  if (Number.isNaN(value) || !Number.isFinite(value) || value === 0) return value
  const bias = 2 ** (exponentBits - 1) - 1
  let exponent = Math.floor(Math.log2(Math.abs(value)))
  // log2 may be off by one beside a power of two.
  while (2 ** exponent > Math.abs(value)) exponent--
  while (2 ** (exponent + 1) <= Math.abs(value)) exponent++
  const step = 2 ** (Math.max(exponent, 1 - bias) - mantissaBits)
  const steps = Math.abs(value) / step
  const below = Math.floor(steps)
  const rest = steps - below
  const whole = rest > 0.5 || rest === 0.5 && below % 2 === 1 ? below + 1 : below
  const result = whole * step
  const largest = (2 - 2 ** -mantissaBits) * 2 ** bias
  return Math.sign(value) * (result > largest ? Infinity : result)
}

const formats = {
  F16: { narrow: halfOfFloat, exponentBits: 5, mantissaBits: 10 }, BF16: { narrow: bfloatOfFloat, exponentBits: 8, mantissaBits: 7 },
} as const

test('every float16 and bfloat16 becomes the float32 that it means, and comes back', t => {
  let wrong = 0
  for (let bits = 0; bits < 65_536; bits++) {
    const half = floatOf(floatOfHalf(bits))
    if (!Object.is(half, valueOf(bits, 5, 10))) wrong++
    if (Number.isNaN(half) ? !Number.isNaN(valueOf(halfOfFloat(floatOfHalf(bits)), 5, 10)) : halfOfFloat(floatOfHalf(bits)) !== bits)
      wrong++
    const bfloat = floatOf(bits << 16)
    if (!Object.is(bfloat, valueOf(bits, 8, 7))) wrong++
    if (!Number.isNaN(bfloat) && bfloatOfFloat(bits << 16) !== bits) wrong++
  }
  t.is(wrong, 0)
})

for (const [name, { narrow, exponentBits, mantissaBits }] of Object.entries(formats)) {
  const same = (bits: number): boolean =>
    Object.is(valueOf(narrow(bits), exponentBits, mantissaBits), rounded(floatOf(bits), exponentBits, mantissaBits))

  test(`${name}: between any two neighbours, and in the middle of them, the nearest is taken, or the even one`, t => {
    const wrong: string[] = []
    for (let bits = 0; bits < 0x7fff; bits++) {
      const [low, high] = [valueOf(bits, exponentBits, mantissaBits), valueOf(bits + 1, exponentBits, mantissaBits)]
      if (!Number.isFinite(low) || !Number.isFinite(high)) continue
      const middle = bitsOf((low + high) / 2)
      // Float32 holds the middle exactly, but for bfloat16's subnormals of its own.
      for (const near of [middle, middle - 1, middle + 1, bitsOf(low) + 1, bitsOf(high) - 1])
        for (const sign of [0, 0x8000_0000]) if (!same((near | sign) >>> 0)) wrong.push((near | sign).toString(16))
    }
    t.deepEqual(wrong.slice(0, 5), [])
  })

  test(`${name}: random float32 bits, all exponents`, t => {
    const random = seeded(seedOf(11))
    let wrong = 0
    for (let i = 0; i < rounds(200_000); i++) {
      const bits = Math.floor(random.next() * 2 ** 32)
      if (!Number.isNaN(floatOf(bits)) && !same(bits)) wrong++
    }
    t.is(wrong, 0)
  })

  test(`${name}: NaN stays NaN, with any payload; infinity and the signs of zero stay`, t => {
    for (const bits of [0x7f80_0001, 0x7fc0_0000, 0xffff_ffff, 0x7f80_1fff, 0xff80_0001])
      t.true(Number.isNaN(valueOf(narrow(bits), exponentBits, mantissaBits)), bits.toString(16))
    for (const value of [Infinity, -Infinity, 0, -0]) t.true(Object.is(valueOf(narrow(bitsOf(value)), exponentBits, mantissaBits), value))
  })
}

test('known values', t => {
  for (const [value, half] of [[1, 0x3c00], [65_504, 0x7bff], [65_519.99609375, 0x7bff], [65_520, 0x7c00], [2 ** -14, 0x400], [2 ** -24, 1],
    [2 ** -25, 0], [2 ** -25 * (1 + 2 ** -23), 1], [3 * 2 ** -25, 2],
    [1 + 2 ** -11, 0x3c00], [1 + 3 * 2 ** -11, 0x3c02], [2 ** -14 - 2 ** -25, 0x400], [0.1, 0x2e66], [2 ** -149, 0]])
    t.is(halfOfFloat(bitsOf(value)), half, String(value))
  for (const [value, bfloat] of [
    [1, 0x3f80], [1 + 2 ** -8, 0x3f80], [1 + 3 * 2 ** -8, 0x3f82], [3.4028234663852886e38, 0x7f80], [2 ** -149, 0], [0.1, 0x3dcd],
  ])
    t.is(bfloatOfFloat(bitsOf(value)), bfloat, String(value))
})

test('pieces convert as single numbers do, at any alignment', t => {
  const random = seeded(seedOf(12))
  const values = Float32Array.from({ length: 1000 }, () => (random.next() - 0.5) * 10 ** (random.below(9) - 7))
  const bytes = new Uint8Array(values.buffer)
  for (const shift of [0, 1, 2, 3]) {
    const moved = new Uint8Array(bytes.length + shift).subarray(shift)
    moved.set(bytes)
    for (const to of ['F16', 'BF16'] as const) {
      const narrow = convert(moved, 'F32', to)
      t.is(narrow.overflow, undefined)
      const halves = new Uint16Array(narrow.bytes.slice().buffer)
      t.true(values.every((value, i) => halves[i] === formats[to].narrow(bitsOf(value))))
      const odd = new Uint8Array(narrow.bytes.length + 1).subarray(1)
      odd.set(narrow.bytes)
      const wide = new Float32Array(convert(odd, to, 'F32').bytes.slice().buffer)
      t.true(values.every((value, i) => wide[i] === rounded(value, formats[to].exponentBits, formats[to].mantissaBits)))
      t.deepEqual(convert(convert(odd, to, 'F32').bytes, 'F32', to).bytes, narrow.bytes)
    }
  }
  t.is(convert(bytes, 'F32', 'F32').bytes, bytes)
})

async function read(folder: string, values: number[], from: 'F32' | 'F16' | 'BF16', to: StoredDType): Promise<Buffer> {
  const file = path.join(folder, 'x')
  const stored = Buffer.from(convert(new Uint8Array(Float32Array.from(values).buffer), 'F32', from).bytes)
  fs.writeFileSync(file, Buffer.concat([Buffer.alloc(4), stored]))
  const pieces: Uint8Array[] = []
  for await (const piece of readConverted(
    [{ name: 'w', file, dtype: from, shape: [values.length], begin: 4, end: 4 + stored.length }], to, 'w', undefined,
  )) pieces.push(piece)
  return Buffer.concat(pieces)
}

test('a number that the new format cannot hold is refused, with its place; infinity that was there stays', async t => {
  const folder = temporaryFolder(t)
  const many = new Array(400_000).fill(1)
  many[300_001] = -65_520
  for (const from of ['F32', 'BF16'] as const) {
    const error = await t.throwsAsync(read(folder, many, from, 'F16'), { instanceOf: AsdmError })
    t.is(error?.code, 'TENSOR_DTYPE')
    t.regex(error!.message, /"w".*element 300001 is -65(520|536)/)
  }
  t.is((await t.throwsAsync(read(folder, [3.4028234663852886e38], 'F32', 'BF16'), { instanceOf: AsdmError }))?.code, 'TENSOR_DTYPE')
  const kept = await read(folder, [Infinity, -Infinity, 65_519], 'F32', 'F16')
  t.deepEqual([0, 2, 4].map(at => kept.readUInt16LE(at)), [0x7c00, 0xfc00, 0x7bff])
})

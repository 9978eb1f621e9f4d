import test from 'ava'
import { randomFloats, roundToBf16, runner } from '../support/op-runner'

// The emulation of tile registers that set amx is tested on, against what Intel's manual says of LDTILECFG, TDPBF16PS and TDPBUSD.

const f = Math.fround
const shapes = (rows: number[], bytes: number[]) => ['configure', { rows, bytes }]

/** A tile's rows of bfloat16 numbers, 64 bytes apart. */
function bf16Rows(values: Float32Array, width: number): Uint8Array {
  const words = new Uint16Array(512), bits = new Uint32Array(values.slice().buffer)
  bits.forEach((word, i) => { words[Math.floor(i / width) * 32 + (i % width)] = word >>> 16 })
  return new Uint8Array(words.buffer)
}
function floatRows(values: Float32Array, width: number): Uint8Array {
  const floats = new Float32Array(256)
  values.forEach((value, i) => { floats[Math.floor(i / width) * 16 + (i % width)] = value })
  return new Uint8Array(floats.buffer)
}
const flush = (x: number) => (Math.abs(f(x)) < 2 ** -126 ? 0 : f(x))

test('pairs of bfloat16: even and odd elements of k apart, from zero, then both to the sum', t => {
  for (const [m, n, pairs] of [[16, 16, 16], [5, 3, 7], [1, 16, 1], [16, 1, 16]]) {
    const sums = randomFloats(m * n, 1, 100), a = roundToBf16(
        randomFloats(m * 2 * pairs, 2),
      ), b = roundToBf16(randomFloats(pairs * 2 * n, 3))
    a[0] = 1e-39 // subnormal: counts as zero, so an infinity times it is NaN
    b[1] = Infinity
    const { fault, stored } = runner.tiles([
      shapes([m, 0, 0, 0, m, 0, pairs], [4 * n, 0, 0, 0, 4 * pairs, 0, 4 * n]),
      ['load', 0, floatRows(sums, n)], [
        'load', 4, bf16Rows(a, 2 * pairs),
      ], ['load', 6, bf16Rows(b, 2 * n)], ['dotBf16', 0, 4, 6], ['store', 0], ['release'],
    ])
    t.is(fault, null)
    const got = new Float32Array(stored[0].buffer)
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        const chains = [0, 0]
        for (let k = 0; k < pairs; k++)
          for (const odd of [0, 1]) {
            const x = a[(i * pairs + k) * 2 + odd]
            // Exact in double but for the last bit of a far smaller addend, which no rounding to float sees.
            chains[odd] = flush((Math.abs(x) < 2 ** -126 ? 0 : x) * b[(k * n + j) * 2 + odd] + chains[odd])
          }
        t.is(got[i * 16 + j], flush(sums[i * n + j] + flush(chains[0] + chains[1])), `${m} ${n} ${pairs}: ${i}, ${j}`)
      }
    }
    if (n < 16) t.is(stored[0][4 * n], 255, 'nothing is written beside a narrow tile')
  }
})

test('small results become zero, large ones infinite', t => {
  const run = (x: number, y: number, sum = 0) => new Float32Array(runner.tiles([
    shapes([1, 0, 0, 0, 1, 0, 1], [4, 0, 0, 0, 4, 0, 4]),
    [
      'load', 0, floatRows(Float32Array.of(sum), 1),
    ], ['load', 4, bf16Rows(Float32Array.of(x, 0), 2)], ['load', 6, bf16Rows(Float32Array.of(y, 0), 2)],
    ['dotBf16', 0, 4, 6], ['store', 0],
  ]).stored[0].buffer)[0]
  t.is(run(2 ** -64, 2 ** -64), 0)
  t.is(run(2 ** -63, 2 ** -63), 2 ** -126)
  t.is(run(2 ** 100, 2 ** 100), Infinity)
  t.is(run(1, 1, 1e-40), 1)
  t.is(run(0, 1, 1e-40), 0)
})

test('unsigned bytes by signed ones, modulo 2^32', t => {
  const left = Uint8Array.from(
      { length: 1024 }, (_, i) => (i * 37 + 11) & 255,
    ), right = Uint8Array.from({ length: 1024 }, (_, i) => (i * 101 + 7) & 255)
  const sums = new Int32Array(256).fill(0x7fffff00)
  const { fault, stored } = runner.tiles([
    shapes([16, 0, 0, 0, 16, 0, 16], [64, 0, 0, 0, 64, 0, 64]),
    ['load', 0, new Uint8Array(sums.buffer)], ['load', 4, left], ['load', 6, right], ['dotBytes', 0, 4, 6], ['store', 0],
  ])
  t.is(fault, 'a thread has left its tiles configured')
  const got = new Int32Array(stored[0].buffer)
  for (let i = 0; i < 16; i++) {
    for (let j = 0; j < 16; j++) {
      let sum = 0x7fffff00
      for (let k = 0; k < 16; k++)
        for (let byte = 0; byte < 4; byte++) sum = (sum + left[i * 64 + 4 * k + byte] * ((right[k * 64 + 4 * j + byte] << 24) >> 24)) | 0
      t.is(got[i * 16 + j], sum)
    }
  }
})

test('what the processor would fault at is a fault', t => {
  const fault = (...instructions: unknown[][]) => runner.tiles([...instructions, ['release']]).fault
  const rows = [16, 0, 0, 0, 16, 0, 16], bytes = [64, 0, 0, 0, 64, 0, 64]
  const whole = shapes(rows, bytes), dot = ['dotBf16', 0, 4, 6]
  t.is(fault(whole, dot), null)
  t.is(fault(['configure', { palette: 0, rows, bytes }]), null, 'gives the tiles back, whatever follows')
  for (const config of [
    { palette: 2, rows, bytes }, { reserved: 1, rows, bytes }, { rows: [17], bytes: [64] }, { rows: [16], bytes: [65] },
    { rows: [16], bytes: [0] }, { rows: [0], bytes: [64] },
    { rows: [0, 0, 0, 0, 0, 0, 0, 0, 1], bytes: [0, 0, 0, 0, 0, 0, 0, 0, 4] },
  ]) t.regex(fault(['configure', config])!, /^LDTILECFG/)
  t.regex(fault(dot)!, /^TDPBF16PS/, 'nothing configured')
  t.regex(fault(['zero', 0])!, /^TILEZERO/)
  t.regex(fault(whole, ['load', 1, new Uint8Array(1024)])!, /^TILELOADD/, 'a tile without a shape')
  t.regex(fault(whole, ['store', 7])!, /^TILESTORED/)
  for (const [sums, left, right] of [[0, 0, 6], [0, 4, 4], [0, 6, 4]]) {
    if (sums === left || left === right) t.regex(fault(whole, ['dotBytes', sums, left, right])!, /^TDPBUSD/)
    else t.is(fault(whole, ['dotBytes', sums, left, right]), null)
  }
  t.regex(fault(shapes([15, 0, 0, 0, 16, 0, 16], bytes), dot)!, /^TDPBF16PS/, 'rows of sums and left')
  t.regex(fault(shapes(rows, [60, 0, 0, 0, 64, 0, 64]), dot)!, /^TDPBF16PS/, 'columns of sums and right')
  t.regex(fault(shapes(rows, [64, 0, 0, 0, 60, 0, 64]), dot)!, /^TDPBF16PS/, 'k of left and right')
  t.regex(fault(shapes(rows, [62, 0, 0, 0, 64, 0, 62]), dot)!, /^TDPBF16PS/, 'half an element')
})

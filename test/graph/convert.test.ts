import test from 'ava'
import { graphs } from '../support/graph-runner'

/** IEEE binary16 by its definition. */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, mantissa = bits & 1023
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15)
}

const all = Uint16Array.from({ length: 65536 }, (_, i) => i)
const bytes = new Uint8Array(all.buffer)

const sets = graphs.sets()

test('every half-precision number is read exactly, by every set', t => {
  for (const set of sets) {
    const { values, finite } = graphs.convert('F16', bytes, set)
    t.is(values.length, 65536)
    t.false(finite)
    for (let i = 0; i < 65536; i++)
      if (!Object.is(values[i], half(i))) return t.fail(`${set} 0x${i.toString(16)}: ${values[i]}, expected ${half(i)}`)
  }
})

test('every bfloat16 number is read exactly, by every set', t => {
  for (const set of sets) {
    const { values, finite } = graphs.convert('BF16', bytes, set)
    t.false(finite)
    const read = new Uint32Array(values.buffer)
    for (let i = 0; i < 65536; i++) if (read[i] !== i * 65536) return t.fail(`${set} 0x${i.toString(16)}`)
  }
  t.pass()
})

test('float32 is copied', t => {
  const values = Float32Array.of(1, -0, 1e-45, Infinity, NaN, 3.4e38)
  for (const set of sets) t.deepEqual(graphs.convert('F32', new Uint8Array(values.buffer), set), { values, finite: false })
})

test('an infinity or NaN is noticed wherever it stands', t => {
  for (const set of sets)
    for (let length = 1; length < 40; length++) {
      const fine = new Uint16Array(length).fill(0x7bff)
      t.true(graphs.convert('F16', new Uint8Array(fine.buffer), set).finite)
      for (const odd of [0x7c00, 0xfc00, 0x7e01]) {
        const one = fine.slice()
        one[(length * 5 + 3) % length] = odd
        t.false(graphs.convert('F16', new Uint8Array(one.buffer), set).finite, `${set} ${length}`)
      }
    }
})

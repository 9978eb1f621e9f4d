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

test('every half-precision number is read exactly', t => {
  const read = graphs.convert('F16', bytes)
  t.is(read.length, 65536)
  for (let i = 0; i < 65536; i++) if (!Object.is(read[i], half(i))) return t.fail(`0x${i.toString(16)}: ${read[i]}, expected ${half(i)}`)
  t.pass()
})

test('every bfloat16 number is read exactly', t => {
  const read = new Uint32Array(graphs.convert('BF16', bytes).buffer)
  for (let i = 0; i < 65536; i++) if (read[i] !== i * 65536) return t.fail(`0x${i.toString(16)}`)
  t.pass()
})

test('float32 is copied', t => {
  const values = Float32Array.of(1, -0, 1e-45, Infinity, NaN, 3.4e38)
  t.deepEqual(graphs.convert('F32', new Uint8Array(values.buffer)), values)
})

import test from 'ava'
import { everySet, inFormat, randomFloats, runEverywhere, runner } from '../support/op-runner'

// Around every vector width, and longer than a task.
const counts = [1, 2, 7, 16, 31, 1000, 2 * 262144 + 5]
const bytes = (values: Float32Array): Buffer => Buffer.from(values.buffer, values.byteOffset, values.byteLength)
const f = Math.fround

for (const format of ['fp32', 'bf16'] as const) {
  test(`line in ${format}: a float operation at a time, rounded once`, t => {
    for (const count of counts) {
      const last = inFormat(format, randomFloats(count, count, 2)), before = inFormat(format, randomFloats(count, count + 1, 2))
      for (const slope of [0.37, -1.5, 1]) {
        const want = inFormat(format, last.map((v1, i) => f(v1 + f(f(slope) * f(v1 - before[i])))))
        for (const { set, y } of runEverywhere('line', { last, before, slope }, format)) t.true(bytes(y).equals(bytes(want)), `${set} ${count} ${slope}`)
      }
    }
  })

  test(`change in ${format}: sums of differences and sizes, in double, run by run`, t => {
    for (const count of counts) {
      const now = inFormat(format, randomFloats(count, count, 3)), before = inFormat(format, randomFloats(count, count + 1, 3))
      const sums = [0.25, 0.25]
      for (let begin = 0; begin < count; begin += 262144) {
        let difference = 0, size = 0
        for (let i = begin; i < Math.min(count, begin + 262144); i++) {
          difference += Math.abs(now[i] - before[i])
          size += Math.abs(before[i])
        }
        sums[0] += difference
        sums[1] += size
      }
      for (const { set, y } of runEverywhere('change', { now, before, start: 0.25 }, format)) t.deepEqual([...y], sums.map(f), `${set} ${count}`)
    }
  })

  test(`copy in ${format}: every byte`, t => {
    for (const count of counts) {
      const x = inFormat(format, randomFloats(count, count))
      for (const { set, y } of runEverywhere('copy', { x }, format)) t.true(bytes(y).equals(bytes(x)), `${set} ${count}`)
    }
  })
}

test('line reads low parts, and gives its own', t => {
  const count = 1003
  const low = (values: Float32Array, seed: number): Float32Array => inFormat('bf16', randomFloats(count, seed, 2).map((v, i) => v * values[i] / 512))
  const last = inFormat('bf16', randomFloats(count, 1, 2)), before = inFormat('bf16', randomFloats(count, 2, 2))
  const lastLow = low(last, 3), beforeLow = low(before, 4), slope = 0.7
  const value = last.map((v, i) => f(f(v + lastLow[i]) + f(f(slope) * f(f(v + lastLow[i]) - f(before[i] + beforeLow[i])))))
  const want = inFormat('bf16', value), wantLow = inFormat('bf16', value.map((v, i) => f(v - want[i])))
  for (const { set, y } of runEverywhere('line', { last, before, lastLow, beforeLow, slope, low: true }, 'bf16')) {
    t.true(bytes(y.slice(0, count)).equals(bytes(want)), set)
    t.true(bytes(y.slice(count)).equals(bytes(wantLow)), `${set}: low part`)
  }
})

test('a change from nothing to something that is not finite is not finite either', t => {
  for (const set of everySet()) {
    const y = runner.run('change', set, 1, { now: Float32Array.of(1, NaN, Infinity), before: Float32Array.of(0, 0, 0), start: 0 })
    t.deepEqual([...y], [NaN, 0], set)
  }
})

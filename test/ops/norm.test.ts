import test from 'ava'
import { loadExpected, maxAbsDiff } from '../support/fixtures'
import { BF16_EPS, EPS, inFormat, randomFloats, runEverywhere } from '../support/op-runner'

interface Group { n: number, rows: number, c: number, groups: number, eps: number, silu: boolean }
type Format = 'fp32' | 'bf16'
const formats: Format[] = ['fp32', 'bf16']
interface Affine { x: Float32Array, gamma: Float32Array, beta: Float32Array }

function affine(count: number, c: number, seed: number, mean = 0, deviation = 1): Affine {
  return {
    x: randomFloats(count, seed, deviation).map(value => value + mean), gamma: randomFloats(c, seed + 1), beta: randomFloats(c, seed + 2),
  }
}

/** (x - mean) / sqrt(variance + eps) of the elements that `indices` names, in float64, two passes. */
function standardise(x: Float32Array, indices: Iterable<number>, eps: number, z: Float64Array) {
  const all = [...indices]
  let mean = 0, variance = 0
  for (const i of all) mean += x[i] / all.length
  for (const i of all) variance += (x[i] - mean) ** 2 / all.length
  const rstd = 1 / Math.sqrt(variance + Math.fround(eps))
  for (const i of all) z[i] = (x[i] - mean) * rstd
}

function* groupIndices({ rows, c, groups }: Group, sample: number, group: number) {
  const width = c / groups
  for (let row = 0; row < rows; row++) for (let j = 0; j < width; j++) yield (sample * rows + row) * c + group * width + j
}

/**
 * The first element out of bounds, or null. An element may be off by 6 roundings of |z gamma| + |beta| + |result|, and by `extra`
 * roundings of |gamma|, which is what an error of the mean, small beside the deviation, does to it. In bfloat16 what is
 * rounded may be off by a sixteenth of its roundings, and one rounding comes on top.
 */
function complaint(format: Format, y: Float32Array, z: Float64Array, { gamma, beta }: Affine, silu: boolean, extra: number): string | null {
  const c = gamma.length
  for (let i = 0; i < y.length; i++) {
    const scaled = z[i] * gamma[i % c], plain = scaled + beta[i % c]
    const want = silu ? plain / (1 + Math.exp(-plain)) : plain
    const terms = Math.abs(scaled) + Math.abs(beta[i % c]) + Math.abs(plain), size = Math.abs(gamma[i % c])
    const bound = format === 'fp32' ? EPS * (6 * terms + extra * size) : BF16_EPS * (1.01 * Math.abs(want) + (terms + size) / 16)
    if (!(Math.abs(y[i] - want) <= bound)) return `element ${i}: ${y[i]}, expected ${want} +- ${bound}`
  }
  return null
}

function checkGroupNorm(t: { fail(message: string): void }, s: Group, plain: Affine) {
  for (const format of formats) {
    const given = { ...plain, x: inFormat(format, plain.x) }, z = new Float64Array(given.x.length)
    for (let sample = 0; sample < s.n; sample++)
      for (let group = 0; group < s.groups; group++) standardise(given.x, groupIndices(s, sample, group), s.eps, z)
    for (const inPlace of [false, true])
      for (const { set, y } of runEverywhere('groupNorm', { ...s, ...given, inPlace }, format)) {
        const message = complaint(format, y, z, given, s.silu, 2)
        if (message !== null)
          t.fail(`${set} ${format} [${s.n}, ${s.rows}, ${s.c}] in ${s.groups}${inPlace ? ', in place' : ''}: ${message}`)
      }
  }
}

const groupShapes: [number, number, number, number][] = [
  [1, 1, 1, 1], [2, 7, 1, 1], [1, 9, 2, 1], [2, 5, 3, 3], [2, 5, 3, 1], [1, 4, 4, 2], [3, 35, 24, 8], [1, 36, 32, 32], [1, 6, 15, 5],
  [2, 131, 17, 17],
  [1, 13, 31, 1], [2, 10, 33, 11], [1, 4, 48, 4], [2, 3, 320, 32], [1, 1, 1280, 32], [2, 64, 640, 32], [1, 5, 2560, 32],
  // More than one chunk of rows, with a rest; a row longer than a chunk.
  [1, 5003, 48, 3], [2, 1031, 67, 67], [1, 40009, 2, 1], [1, 3, 40002, 6],
]

for (const silu of [false, true])
  test(`group norm ${silu ? 'with SiLU ' : ''}of any shape`, t => {
    for (const [n, rows, c, groups] of groupShapes)
      checkGroupNorm(t, { n, rows, c, groups, eps: 1e-5, silu }, affine(n * rows * c, c, rows + c))
    t.pass()
  })

test('group norm of means far above the deviation, and of outliers', t => {
  const s = { n: 1, rows: 300, c: 48, groups: 4, eps: 1e-6, silu: false }
  for (const [mean, deviation] of [[100, 1], [-3000, 0.5], [1e5, 1], [1e6, 10]])
    checkGroupNorm(t, s, affine(s.rows * s.c, s.c, 5, mean, deviation))
  // Channels of one group with different means, and one huge first element.
  const given = affine(s.rows * s.c, s.c, 6)
  for (let i = 0; i < given.x.length; i++) given.x[i] += (i % s.c) * 100
  given.x[0] = 1e6
  checkGroupNorm(t, s, given)
  t.pass()
})

test('group norm of constants gives beta', t => {
  for (const value of [0, 1, -7.3, 12345.678]) {
    const given = affine(50 * 24, 24, 7)
    for (const format of formats) {
      given.x = inFormat(format, given.x.fill(value))
      const eps = format === 'fp32' ? EPS : BF16_EPS
      for (const { set, y } of runEverywhere('groupNorm', { n: 1, rows: 50, c: 24, groups: 3, eps: 1e-5, silu: false, ...given }, format))
        t.true(
          y.every((result, i) =>
            Math.abs(result - given.beta[i % 24]) <= 1e-3 * EPS * Math.abs(value) + eps * Math.abs(given.beta[i % 24])),
          `${set} ${format} ${value}`,
        )
    }
  }
})

test('NaN stays in its group and sample', t => {
  const s = { n: 2, rows: 40, c: 12, groups: 3, eps: 1e-5, silu: true }, given = affine(2 * 40 * 12, 12, 8)
  given.x[(40 + 13) * 12 + 5] = NaN
  for (const format of formats)
    for (const { set, y } of runEverywhere('groupNorm', { ...s, ...given }, format)) {
      const right = y.every((value, i) => Number.isNaN(value) === (i >= 40 * 12 && i % 12 >= 4 && i % 12 < 8))
      t.true(right, `${set} ${format}`)
    }
})

test('layer norm of any width', t => {
  for (const [rows, c] of [[1, 1], [3, 2], [5, 3], [7, 4], [2, 5], [3, 7], [3, 8], [3, 9], [3, 15], [3, 16], [3, 17], [5, 31], [5, 33],
    [11, 40], [77, 48], [9, 63],
    [9, 65], [300, 127], [4, 320], [30, 768], [60, 1280], [2, 5003], [2, 40001]]) {
    for (const [mean, deviation] of [[0, 1], [-1000, 2]]) {
      for (const format of formats) {
        const plain = affine(rows * c, c, c, mean, deviation), given = {
            ...plain, x: inFormat(format, plain.x),
          }, z = new Float64Array(rows * c)
        for (let row = 0; row < rows; row++) standardise(given.x, Array.from({ length: c }, (_, j) => row * c + j), 1e-5, z)
        for (const inPlace of [false, true])
          for (const { set, y } of runEverywhere('layerNorm', { rows, c, eps: 1e-5, ...given, inPlace }, format)) {
            // Sums run along the row, so their error grows with its length, like a random walk.
            const message = complaint(format, y, z, given, false, 2 + Math.sqrt(c) / 8)
            if (message !== null) t.fail(`${set} ${format} [${rows}, ${c}] mean ${mean}: ${message}`)
          }
      }
    }
  }
  t.pass()
})

test('layer norm keeps NaN in its row', t => {
  const given = affine(5 * 70, 70, 9)
  given.x[2 * 70 + 69] = NaN
  for (const format of formats)
    for (const { set, y } of runEverywhere('layerNorm', { rows: 5, c: 70, eps: 1e-5, ...given }, format))
      t.true(y.every((value, i) => Number.isNaN(value) === (Math.floor(i / 70) === 2)), `${set} ${format}`)
})

test('equal PyTorch', t => {
  const expected = loadExpected('ops')
  for (const name of ['group_norm_0', 'group_norm_1', 'group_norm_silu_0', 'group_norm_silu_1']) {
    const { data, shape: [n, c, h, w] } = expected.tensor(`${name}/x`)
    const rows = h * w, { groups, eps } = expected.json.ops[name]
    // [n, c, pixels] -> [n, pixels, c]
    const last = (values: Float32Array) =>
      Float32Array.from(values, (_, i) => values[(Math.floor(i / (rows * c)) * c + (i % c)) * rows + (Math.floor(i / c) % rows)])
    const want = last(expected.tensor(`${name}/y`).data)
    const given = { x: last(data), gamma: expected.tensor(`${name}/weight`).data, beta: expected.tensor(`${name}/bias`).data }
    for (const { set, y } of runEverywhere('groupNorm', { n, rows, c, groups, eps, silu: name.includes('silu'), ...given }))
      t.true(maxAbsDiff(y, want) <= 1e-5 * Math.max(1, ...want.map(Math.abs)), `${name} ${set}`)
  }
  const { data: x, shape: [batch, length, c] } = expected.tensor('layer_norm/x'), want = expected.tensor('layer_norm/y').data
  const given = { x, gamma: expected.tensor('layer_norm/weight').data, beta: expected.tensor('layer_norm/bias').data }
  for (const { set, y } of runEverywhere('layerNorm', { rows: batch * length, c, eps: expected.json.ops.layer_norm.eps, ...given }))
    t.true(maxAbsDiff(y, want) <= 1e-5 * Math.max(1, ...want.map(Math.abs)), set)
})

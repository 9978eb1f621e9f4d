import test from 'ava'
import type { DType } from '../../lib/components/options'
import { maxAbsDiff } from '../support/fixtures'
import { BF16_EPS, EPS, everySet, inFormat, randomFloats, runEverywhere, runner } from '../support/op-runner'
import { activations } from '../support/references'

// A product whose second half of features are gates: y = v * gelu(gate). Features are whole panels, rows and k are anything.
const shapes: [m: number, n: number, k: number][] = [
  [1, 128, 1], [3, 128, 5], [13, 256, 37], [17, 128, 257], [15, 128, 513], [29, 128, 1031], [6, 256, 2563],
]

const problem = (m: number, n: number, k: number, bias: boolean) =>
  ({
    m, n, k, x: randomFloats(m * k, m + k), weight: randomFloats(n * k, n + k, 2 / Math.sqrt(k)), ...(bias && { bias: randomFloats(n, 5) }),
  })

for (const set of everySet()) {
  test(`${set}: fp32 equals the product and geglu bit for bit`, t => {
    for (const [m, n, k] of [...shapes, [331, 256, 23], [14, 2560, 320], [131, 384, 700]]) {
      const args = problem(m, n, k, m % 2 === 1)
      const want = runner.run('geglu', set, 1, { x: runner.run('linear', set, 1, args), rows: m, inner: n / 2 })
      for (const threads of [1, 2, 5])
        t.is(
          maxAbsDiff(runner.run('linear', set, threads, { ...args, gated: true, activation: 'gelu' }), want), 0,
          `${m} ${n} ${k} ${threads}`,
        )
    }
  })
}

/** Compares with float64, of the inputs as they are read, on every set. */
function check(
  dtype: 'fp32' | 'bf16', m: number, n: number, k: number, bias: boolean, more: { wide?: boolean, ldy?: number, ldx?: number } = {},
): string | undefined {
  const inner = n / 2, { ldy = inner, ldx = k } = more
  const args = problem(m, n, k, bias)
  args.x = inFormat(dtype, randomFloats((m - 1) * ldx + k, m + k))
  if (more.wide !== true) args.weight = inFormat(dtype, args.weight)
  const product = (row: number, feature: number): { sum: number, size: number } => {
    let sum = 0, size = 0
    for (let p = 0; p < k; p++) {
      const one = args.x[row * ldx + p] * args.weight[feature * k + p]
      sum += one
      size += Math.abs(one)
    }
    const added = args.bias?.[feature] ?? 0
    return { sum: sum + added, size: size + Math.abs(added) }
  }
  const results = runEverywhere('linear', { ...args, ...more, gated: true, activation: 'gelu' }, dtype)
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < inner; j++) {
      const value = product(i, j), gate = product(i, inner + j), gelu = activations.gelu(gate.sum), want = value.sum * gelu
      // Of each sum, as for any product; gelu's slope is at most 1.13, and it is off by 6 roundings itself.
      const valueOff = (k + 2) * EPS * value.size
      const geluOff = 1.2 * (k + 2) * EPS * gate.size + 6 * EPS * Math.max(1, Math.abs(gate.sum))
      const bound = valueOff * (Math.abs(gelu) + geluOff) + Math.abs(value.sum) * geluOff + 2 * EPS * Math.abs(want)
      // In bfloat16 one rounding of the result, and gelu a sixteenth of it.
      const rounding = dtype === 'bf16' ? (1 + 1 / 16) * BF16_EPS * (Math.abs(want) + bound) : 0
      for (const { set, y } of results)
        if (!(Math.abs(y[i * ldy + j] - want) <= bound + rounding))
          return `${dtype} ${set} ${m} ${n} ${k} ${JSON.stringify(more)} [${i}, ${j}] is ${y[i * ldy + j]}, not ${want}`
    }
    for (let j = inner; j < ldy; j++)
      for (const { set, y } of results)
        if (i * ldy + j < y.length && !Number.isNaN(y[i * ldy + j])) return `${set}: wrote between rows ${i} and ${i + 1}`
  }
  return undefined
}

test('products with gates against float64', t => {
  for (const dtype of ['fp32', 'bf16'] as const) {
    for (const [m, n, k] of shapes) t.is(check(dtype, m, n, k, m % 2 === 1), undefined)
    t.is(check(dtype, 37, 128, 45, true, { ldx: 50, ldy: 71 }), undefined)
    t.is(check(dtype, 5, 2560, 20, true), undefined)
  }
})

test('float weights with bfloat16 activations', t => {
  for (const [m, n, k] of [[1, 128, 3], [19, 256, 67], [7, 128, 1031]])
    t.is(check('bf16', m, n, k, true, { wide: true, ldy: n / 2 + 5 }), undefined)
})

for (const dtype of ['bf16', 'int8'] as DType[]) {
  test(`${dtype} gates what the product gives with its low parts, and keeps a low part`, t => {
    for (const [m, n, k] of [...shapes, [331, 256, 23], [14, 2560, 320]]) {
      const args = { ...problem(m, n, k, true), low: true }, inner = n / 2
      args.x = inFormat('bf16', args.x)
      for (const { set, y } of runEverywhere('linear', { ...args, gated: true, activation: 'gelu' }, dtype)) {
        const parts = runner.run('linear', set, 1, args, dtype), half = m * n
        for (let i = 0; i < m; i++) {
          for (let j = 0; j < inner; j++) {
            const at = i * n + j, value = parts[at] + parts[half + at], gate = parts[at + inner] + parts[half + at + inner]
            const want = value * activations.gelu(gate), got = y[i * inner + j], low = y[m * inner + i * inner + j]
            // Both parts together are off by a rounding of the low one; gelu is off by a sixteenth of bfloat16's rounding.
            const off = 3 * BF16_EPS ** 2 * Math.abs(want) + 3 * BF16_EPS ** 2 * Math.abs(value * gate) + BF16_EPS / 16 * Math.abs(want)
              + 1e-6 * Math.abs(value)
            if (!(Math.abs(got + low - want) <= off)) t.fail(`${set} ${m} ${n} ${k} [${i}, ${j}] is ${got} + ${low}, not ${want}`)
            if (!(Math.abs(low) <= BF16_EPS * Math.abs(got)))
              t.fail(`${set} ${m} ${n} ${k} [${i}, ${j}] has the low part ${low} beside ${got}`)
          }
        }
      }
    }
    t.pass()
  })
}

test('a NaN reaches its row, an infinite weight its feature or what its gate lets through', t => {
  const m = 16, n = 256, k = 40, args = problem(m, n, k, true)
  args.x[3 * k + 7] = NaN
  args.weight[20 * k + 1] = Infinity
  args.weight[150 * k + 2] = NaN
  for (const dtype of ['fp32', 'bf16'] as const)
    for (const { set, y } of runEverywhere('linear', { ...args, gated: true, activation: 'gelu' }, dtype))
      for (let i = 0; i < m; i++)
        for (let j = 0; j < n / 2; j++) {
          const value = y[i * (n / 2) + j], where = `${dtype} ${set} [${i}, ${j}]`
          if (i === 3 || j === 22) t.true(Number.isNaN(value), where)
          else t.is(Number.isFinite(value), j !== 20, where)
        }
})
